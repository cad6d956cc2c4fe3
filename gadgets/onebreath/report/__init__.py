"""What people look at: pictures, cine loops and tables of numbers."""
