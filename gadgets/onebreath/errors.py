"""Errors of Onebreath; ``str(error)`` is the text that reaches the person at the scanner."""


class OnebreathError(Exception):
    """Base of every error that Onebreath raises on purpose."""


class ConfigError(OnebreathError):
    """A configuration or a property is wrong; raised before any data flow."""


class ScanError(OnebreathError):
    """The raw data, or the header that came with it, cannot be used."""


class NotKept(ScanError):
    """Images of an earlier scan are not there, or not yet."""


class NoiseNotKept(OnebreathError):
    """A scan that is only noise left no covariance for the scans that follow."""


class WireError(OnebreathError):
    """The bytes that arrived do not follow Gadgetron's protocol."""


class ConnectionLost(WireError):
    """The other side went away before the scan was complete."""


class MethodError(OnebreathError):
    """A reconstruction method cannot do what this scan needs."""


class OutsideDomain(MethodError):
    """A scan is outside the model's domain; the policy of a rule applies only to this error."""


class DeadlineMissed(MethodError):
    """A method took longer than it may."""


class TrainingError(OnebreathError):
    """A training cannot continue."""


class ModelError(OnebreathError):
    """A model's weights or its card are wrong."""


class UnknownModel(ModelError, ConfigError):
    """No installed model has the requested name; a wrong configuration if the name comes from there."""
