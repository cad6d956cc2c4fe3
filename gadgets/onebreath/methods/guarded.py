"""A learned method with a classical fallback: images are always made, and their meta says how."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from onebreath.cancellation import checkpoint
from onebreath.errors import DeadlineMissed, MethodError, OnebreathError, OutsideDomain, UnknownModel
from onebreath.methods.base import Derive, Fact, Method, Reconstruction
from onebreath.methods.deadline import Begun, within
from onebreath.methods.place import AnyPlace, Place
from onebreath.zoo.domain import Scan

log = logging.getLogger("onebreath.reconstruct")

Policy: TypeAlias = Literal["fallback", "warn", "refuse"]
"""What happens to a scan that a model is not for: the fallback's images, the model's with a warning, or an error."""

_MARGIN = 0.1
"""Part of the deadline that is reserved for what follows the method: partial Fourier, headers, export."""
_ALONE = 0.5
"""Part of a message's share of the time that is left during which the wanted method works alone."""


@dataclass(frozen=True)
class Safety:
    """The fallback method, and the conditions for using it.

    Attributes
    ----------
    fallback
        Method that makes the images when the wanted one cannot; None: its error ends the scan.
    deadline_s
        Seconds that the reconstruction of a scan may take, waiting for data not counted; 0: any time.
    send_classical
        Whether the fallback's images always go along.
    policy
        For scans outside the model's domain. `warn` is the method's own affair: it does not raise then.
    by_name
        Whether the configuration itself names the method and its model: a name that no model has is a mistake in it
        then, which the fallback's images would hide.
    """

    fallback: Method | None = None
    deadline_s: float = 0.0
    send_classical: bool = False
    policy: Policy = "fallback"
    by_name: bool = False


class Outcome(NamedTuple):
    """Images of one message by one method, and what was `wanted`; `instead` says why that did not make them, `beside`
    that its images come too.
    """

    method: Method
    results: list[Reconstruction]
    wanted: str
    instead: str = ""
    beside: bool = False


class Guarded:
    """A wanted method with a fallback.

    Images of one message all come from one method. With a deadline the fallback begins, beside the wanted method, as
    soon as that has had half of the message's share of the time: only images that are there already are sure to be in
    time. The wanted method may go on while so much time is left as the fallback needs for the messages to come.

    Parameters
    ----------
    wanted
        The method; None: there is none, and `refused` says why.
    safety
        The method used otherwise.
    messages
        How many messages the scan will have.
    refused
        Why the wanted method must not be used.
    """

    def __init__(self, wanted: Method | None, safety: Safety, messages: int = 1, refused: str = "") -> None:
        self.wanted, self.safety = wanted, safety
        self.refused = refused
        self.facts: dict[str, Fact] = {}
        """How it was chosen."""
        self._to_come = messages
        self._spent = 0.0
        self._classical_s = 0.0  # the longest that the fallback took for a message

    @property
    def name(self) -> str:
        """Name of the guarded method; of a model its own name, and what is missing where no rule names a method."""
        if self.wanted is None:
            return "a learned method"
        return str(getattr(self.wanted.parameters, "model", self.wanted.name))

    def calibrate_by(self, derive: Derive) -> None:
        """Let both methods take results computed from calibration lines from `derive`."""
        for method in (self.wanted, self.safety.fallback):
            if method is not None:
                method.derive = derive

    def prepare(self, scan: Scan) -> None:
        """Prepare both methods; an error of the wanted one is stored for the first message.

        Raises
        ------
        OnebreathError
            If a method lacks something and has no fallback, if the policy is to refuse, or if no model has the
            name that the configuration says.
        """
        if self.safety.fallback is not None:
            self.safety.fallback.prepare(scan)
        if self.wanted is None or self.refused:
            return
        wanted, deadline = self.wanted, self.safety.deadline_s
        begun = time.perf_counter()
        try:
            if deadline:  # a model may lie on a disk that does not answer
                within(deadline / 2, lambda: wanted.prepare(scan))
            else:
                wanted.prepare(scan)
        except Exception as error:
            self._stand_by_or_raise(error)
            self.refused = _reason(error)
            log.warning("%s will make the images: %s", self._fallback.name, error, exc_info=_unexpected(error))
        self._spent += time.perf_counter() - begun

    def foresee(self, places: Sequence[Place]) -> None:
        """Prepare the wanted method for slices that it will reconstruct; this time counts towards the deadline."""
        if self.wanted is None or self.refused:
            return
        begun = time.perf_counter()
        self.wanted.foresee([place.data_for(self.wanted) for place in places])
        self._spent += time.perf_counter() - begun

    @property
    def spent(self) -> float:
        """Seconds of the deadline that are gone."""
        return self._spent

    def spend(self, seconds: float) -> None:
        """Count seconds spent before the first message towards the deadline."""
        self._spent += seconds

    def __call__(self, places: Sequence[AnyPlace]) -> list[Outcome]:
        """Reconstruct all places of a message: images of the wanted method, the fallback's, or both.

        Raises
        ------
        OnebreathError
            If neither method can.
        """
        begun = time.perf_counter()
        self._to_come = max(self._to_come - 1, 0)
        try:
            return self._made(places)
        finally:
            self._spent += time.perf_counter() - begun

    def _made(self, places: Sequence[AnyPlace]) -> list[Outcome]:
        begun = time.perf_counter()
        standby = _Standby(self.safety.fallback, places)
        self.facts.pop("standby", None)
        if self.safety.fallback is not None and self.safety.send_classical:
            standby.images()
        try:
            wanted = self._wanted(places, standby, begun)
        except Exception as error:
            checkpoint()  # nobody wants the fallback's images of a scan that was given up
            self._stand_by_or_raise(error)
            log.warning("%s makes the images instead: %s", self._fallback.name, error, exc_info=_unexpected(error))
            reason = _reason(error)
            return [Outcome(self._fallback, standby.last_resort(reason), self.name, instead=reason)]
        finally:
            self._classical_s = max(self._classical_s, standby.seconds)
        made = [] if self.wanted is None else [Outcome(self.wanted, wanted, self.name)]
        if self.safety.send_classical and isinstance(standby.made, list):
            made.append(Outcome(self._fallback, standby.made, self.name, beside=True))
        return made

    def _wanted(self, places: Sequence[AnyPlace], standby: _Standby, begun: float) -> list[Reconstruction]:
        """Run the wanted method within the remaining time; its images are finite."""
        if self.wanted is None or self.refused:
            raise MethodError(self.refused)
        method, deadline = self.wanted, self.safety.deadline_s
        if not deadline:
            return _reconstructed(places, method)
        end = begun + deadline * (1 - _MARGIN) - self._spent
        try:
            return self._in_time(lambda: _reconstructed(places, method), standby, end)
        except DeadlineMissed as error:
            raise DeadlineMissed(f"{method.name}: {error}; deadline_s is {deadline:g}") from error

    def _in_time(
        self, wanted: Callable[[], list[Reconstruction]], standby: _Standby, end: float
    ) -> list[Reconstruction]:
        """Run the wanted method until `end` (of `time.perf_counter`), later in parallel with the fallback."""
        left, taken = end - time.perf_counter(), max(self._classical_s, standby.seconds)
        if left <= taken * (self._to_come + (standby.made is None)):
            raise DeadlineMissed("no time is left for it")
        running = Begun(wanted)
        if standby.made is None and not running.ended(left / (1 + self._to_come) * _ALONE):
            self.facts["standby"] = f"began after {running.seconds:.3g} s"
            standby.try_beside()
        put_aside = max(self._classical_s, standby.seconds) * self._to_come
        made = running.result(end - put_aside - time.perf_counter())
        if standby.made is None:
            self.facts.setdefault("standby", "not needed")
        return made

    @property
    def _fallback(self) -> Method:
        assert self.safety.fallback is not None
        return self.safety.fallback

    def _stand_by_or_raise(self, error: Exception) -> None:
        """Raise the error if there is no fallback, or if it may not be used for this error."""
        refused = self.safety.policy == "refuse" and isinstance(error, OutsideDomain)
        misspelt = self.safety.by_name and isinstance(error, UnknownModel)
        if self.safety.fallback is None or refused or misspelt:
            raise error


class _Standby:
    """The fallback's images of one message, made at first access.

    Parameters
    ----------
    fallback
        The method; None if there is none.
    places
        All places of the message.
    """

    def __init__(self, fallback: Method | None, places: Sequence[AnyPlace]) -> None:
        self.fallback, self.places = fallback, places
        self.made: list[Reconstruction] | OnebreathError | None = None
        self.seconds = 0.0

    def images(self) -> list[Reconstruction] | OnebreathError:
        """Return the images, or the error: the wanted method may still succeed."""
        if self.made is None:
            assert self.fallback is not None
            begun = time.perf_counter()
            try:
                self.made = _reconstructed(self.places, self.fallback)
            except OnebreathError as error:
                log.warning("the fallback %s cannot reconstruct this slice: %s", self.fallback.name, error)
                self.made = error
            self.seconds = time.perf_counter() - begun
        return self.made

    def try_beside(self) -> None:
        """Make the images in parallel with another method; if memory is too small, they are made later, alone."""
        try:
            self.images()
        except Exception as error:
            log.warning("the fallback cannot work beside the method: %s", error, exc_info=error)

    def last_resort(self, reason: str) -> list[Reconstruction]:
        """Return the images; raises the fallback's error, with the reason why it was used."""
        made = self.images()
        if isinstance(made, OnebreathError):
            assert self.fallback is not None
            raise type(made)(f"{made} ({self.fallback.name} stood by, because: {reason})") from made
        return made


def _reconstructed(places: Sequence[AnyPlace], method: Method) -> list[Reconstruction]:
    """Reconstruct all places; raises MethodError if a pixel is not finite."""
    results = [place.reconstruct(method) for place in places]
    bad = sum(int(np.count_nonzero(~np.isfinite(result.images))) for result in results)
    if bad:
        raise MethodError(f"{method.name} made {bad} pixels that are NaN or infinite")
    return results


def _unexpected(error: Exception) -> bool:
    """Return whether the log needs a traceback; errors raised on purpose are explained by their text."""
    return not isinstance(error, OnebreathError)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if _unexpected(error) else str(error)
