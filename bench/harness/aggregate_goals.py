"""What the part `aggregate` has shown, goal by goal.

The goals of CPU are those of a machine on which the floor takes FLOOR_S per million events, uncompressed: the figure is held to them as it is, and
told as it would be there too, which is what says something on a slower or busier one.
"""

from .report import short

KILLS = 5

FLOOR_S = 0.30
# Input, what it shows, CPU seconds per million events.
COSTS = (("none", "uncompressed, with hints", 0.12), ("lz4", "lz4, with hints", 0.2), ("zstd", "zstd, with hints", 0.3),
         ("shuffled", "uncompressed, every event parsed", 0.35))
STREAMS_PART = 1 / 20
MEMORY_MIB = 10
VOTERS_MIB = 32
LATE_MS = 20
IDLE_CLOSE_MS = 1000
AGAIN_MS = 2000
PRODUCE_RATIO = 1.05
GROUPS_RATIO = 2


def judge(results):
    costs(results)
    beside_streams(results)
    results.at_most("extra memory, 500 groups", results.median("aggregate-cost", "tifo", "memory_mib", load="500 groups, none"), MEMORY_MIB, "MiB")
    results.at_most("window end to consumer, append time: p99", results.median("aggregate-live", "tifo", "p99_ms", load="append time, grace 0"), LATE_MS, "ms")
    for name, label in (("p99_ms", "p99"), ("last_window_ms", "the last window, when it is quiet")):
        results.at_most(f"window end to consumer, field time, grace 0: {label} (idle_close + {LATE_MS} ms)",
                results.median("aggregate-live", "tifo", name, load="field time, grace 0"), IDLE_CLOSE_MS + LATE_MS, "ms")
    results.at_most(f"rows again after kill -9 at 200,000 events/s, from the ready line: the longest of {KILLS}",
            results.median("aggregate-recovery", "tifo", "rows_again_ms", middle=max), AGAIN_MS, "ms")
    produce_path(results)
    results.at_most("1 million distinct users", results.median("aggregate-voters", "tifo", "more_memory_mib"), VOTERS_MIB, "MiB")
    groups(results)


def costs(results):
    floor = cost(results, "floor", "none")
    for name, label, goal in COSTS:
        whole = cost(results, "tifo", name)
        own_floor = cost(results, "floor", name)
        told = None
        if whole is not None and floor and own_floor:
            told = f"{short(whole)}; {short(whole / own_floor)} x floor ({short(own_floor)}); {short(whole * FLOOR_S / floor)} where the floor takes {FLOOR_S:.2f}"
        results.goal(f"CPU s per million events, {label}", f"<= {goal}", told or "", whole is not None and whole <= goal if told else None)


def cost(results, server, name, field="cpu_s_per_million"):
    return results.median("aggregate-cost", server, field, load=f"500 groups, {name}")


def beside_streams(results):
    own, broker = cost(results, "streams", "none"), cost(results, "streams", "none", "broker_cpu_s_per_million")
    for name, label, _ in (COSTS[0], COSTS[-1]):
        whole = cost(results, "tifo", name)
        known = None not in (own, broker, whole)
        told = f"1/{(own + broker) / whole:.0f} of {short(own)} and {short(broker)} in the broker (1/{own / whole:.0f} of the former)" if known else ""
        results.goal(f"CPU beside Kafka Streams, {label}", "<= 1/20", told, whole <= STREAMS_PART * (own + broker) if known else None)


def produce_path(results):
    off, on, counting = (results.median("aggregate-produce", "tifo", f"{name}_cpu_s_per_gb") for name in ("off", "on", "counting"))
    known = None not in (off, on, counting)
    ratio = (on - counting) / off if known else None
    told = f"{100 * (ratio - 1):+.0f} % ({short(off)} off, {short(on)} on, of which counting {short(counting)})" if known else ""
    results.goal("produce path with the aggregator on against off, CPU s/GB", "<= +5 %", told, ratio <= PRODUCE_RATIO if known else None)


def groups(results):
    found = [results.median("aggregate-groups", "tifo", "cpu_s_per_million", load=f"{count} groups") for count in (10, 1_000, 100_000)]
    known = None not in found
    told = f"{max(found) / min(found):.2f} x ({', '.join(short(value) for value in found)} CPU s per million)" if known else ""
    results.goal("cost at 10, 1,000 and 100,000 groups", "within 2 x", told, max(found) <= GROUPS_RATIO * min(found) if known else None)
