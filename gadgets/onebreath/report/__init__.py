"""One page for one scan: images, maps, what was decided and why; a single HTML file that fetches nothing."""
