"""Situations in which an option may have no effect, and how that is said."""

from __future__ import annotations

from enum import Enum

from ...engine.errors import ConfigurationError


class Situation(Enum):
    """Where an option may have no effect: how that is said, and what to do about it."""

    SERVER_AT_URL = "to a server at --url", "it has its own settings"
    OWN_ENGINE = "without --url", "give the --url of a server"
    NULL_SERVER = "to the null server", "give the --url of a server that has models"
    VIRTUAL_TIME = "in virtual time", "add --real-time to emulate the device behind HTTP"
    SIMULATED_DEVICE = "to a simulated device", "its answers have no text"
    REAL_DEVICE = "to a real device", "give a simulated one, such as --device simulated:h100"
    NO_TRACE = "without --trace", "give the --trace file to replay"
    NO_SERVER_METRICS = "with --server-metrics-interval 0", "give another interval"
    SWEEP = "with --sweep", "each point of a sweep is a run of its own at a rate of its own"
    SAVED_RUNS = "to saved runs", "they are compared as they were measured"
    RATE_SEARCH = "without --request-rate", "the search for the highest rate sends for 4 s at each rate"
    SINGLE_RATE = "with --request-rate", "only a search for the highest rate has an end"
    SEVERAL_RUNS = "to several runs", "give one RUN"
    TEXTS_AS_IS = "with --cache as-is", "its texts depend on --seed alone"
    NO_FREEZE = "without --freeze-at", "say when to freeze"
    NO_STALL = "without --stall-every", "say which requests to stall"
    NO_PREFILL = "without --prefill-rate", "prompts take no time then"
    NO_WINDOW = "without --batching window", "other modes have no windows to fill"
    NO_GRAPHS = "with --device cpu", "CUDA graphs are of a GPU"
    NO_HOST_TIER = "with --park drop", "nothing is parked on the host"
    NO_SWEEP = "without --sweep", "it is about the search for the highest rate"
    NO_RULES = "without rules", "give --require or --rules"
    DEVICE = "with --device", "it measures a device, not a client"
    NO_DEVICE = "without --device", "it is about the device to measure"
    NO_TLS = "to a server without TLS", "its URL begins with http://"


def does_not_apply(flag: str, situation: Situation) -> ConfigurationError:
    """The error for an option that has no effect in a situation."""
    words, advice = situation.value
    return ConfigurationError(f"{flag} does not apply {words}: leave it out ({advice})")
