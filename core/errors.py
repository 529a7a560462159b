"""One error family. Every message names the thing that is wrong and the remedy."""


class SpurioscopeError(Exception):
    """Base of everything this package raises on purpose."""

    exit_code = 1


class InputError(SpurioscopeError):
    """The caller's input is wrong; the command line ends with exit code 2."""

    exit_code = 2


class DataError(InputError):
    """The data set cannot be read: no folder, no readable image, a manifest without labels."""


class UnreadableImageError(DataError):
    """One image cannot be decoded. An audit lists it and goes on."""


class ModelError(InputError):
    """The model cannot be loaded, or has no linear head."""


class CheckpointError(ModelError):
    """A checkpoint file is unsafe, damaged, or belongs to another architecture."""


class WorkspaceError(InputError):
    """The workspace cannot be written, or an audit in it does not exist or differs."""


class JobError(SpurioscopeError):
    """A job could not be started or ended abnormally."""
