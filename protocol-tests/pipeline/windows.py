"""The truth about windows: every row of an aggregate, computed from the raw topic by the rules alone (docs/aggregates.md).

Time goes by the events, grace holds per partition, nothing closes by idleness: so that which event counts where is a function of
the raw topic. `raw` is [(time, channel, user) or None if it cannot be read], in order of offset, for each partition."""

import collections

GRACE_MS = 300
EVERY_MS = 500
HOP_MS = 2000
POLL_MS = 10_000
GAP_MS = 150

# As in the settings file; idle_close is far above what a restart takes.
COMMON = f'from = "taps"\ngroup_by = ["channel"]\ngrace = "{GRACE_MS}ms"\nidle_close = "8s"\nmax_future = "1h"\npartitions = 4\ntime = {{ field = "t" }}\n'
WINDOWS = {
    "tumble": f'window = {{ tumble = "{EVERY_MS}ms" }}',
    "hop": f'window = {{ hop = "{HOP_MS}ms", every = "{EVERY_MS}ms" }}',
    "votes": f'window = {{ cumulate = "{POLL_MS}ms", every = "{EVERY_MS}ms" }}\nsnapshot_every = 2000\ndedup = {{ by = "user", keep = "last" }}',
    "session": f'window = {{ session = "{GAP_MS}ms" }}\nsnapshot_every = 3000',
}


def settings():
    tables = [f'[[aggregate]]\nname = "{name}"\ninto = "{name}-out"\n{COMMON}{rest}\n' for name, rest in WINDOWS.items()]
    return "\n".join(tables)


def ends_of(kind, time):
    floor = lambda step: time - time % step
    if kind == "tumble":
        return [floor(EVERY_MS) + EVERY_MS]
    if kind == "hop":
        return range(floor(EVERY_MS) + EVERY_MS, floor(EVERY_MS) + HOP_MS + 1, EVERY_MS)
    return range(floor(EVERY_MS) + EVERY_MS, floor(POLL_MS) + POLL_MS + 1, EVERY_MS)


def start_of(kind, end):
    return {"tumble": end - EVERY_MS, "hop": end - HOP_MS, "votes": (end - 1) - (end - 1) % POLL_MS}[kind]


def read(raw):
    """(partition, offset, event, the watermark of its partition before it), of what can be read."""
    for partition, events in enumerate(raw):
        watermark = None
        for offset, event in enumerate(events):
            if event is not None:
                yield partition, offset, event, watermark
                watermark = max(event[0], watermark if watermark is not None else event[0])


def truth(kind, raw):
    """({(start, end, channel): count}, {(partition, offset) of what is late})."""
    if kind == "session":
        return sessions(raw)
    windows, late = collections.defaultdict(list), set()
    for partition, offset, (time, channel, user), watermark in read(raw):
        open_to_it = [end for end in ends_of(kind, time) if watermark is None or end + GRACE_MS > watermark]
        if not open_to_it:
            late.add((partition, offset))
        for end in open_to_it:
            windows[end].append(((time, partition, offset), channel, user))
    rows = collections.Counter()
    for end, events in windows.items():
        if kind == "votes":
            events = {user: (stamp, channel, user) for stamp, channel, user in sorted(events)}.values()
        for _, channel, _ in events:
            rows[start_of(kind, end), end, channel] += 1
    return rows, late


def sessions(raw):
    late, by_channel = set(), collections.defaultdict(list)
    for partition, offset, (time, channel, _), watermark in read(raw):
        if watermark is not None and time + GRACE_MS < watermark:
            late.add((partition, offset))
        else:
            by_channel[channel].append(time)
    rows = {}
    for channel, times in by_channel.items():
        times.sort()
        start, count = times[0], 0
        for time, following in zip(times, [*times[1:], None]):
            count += 1
            if following is None or following >= time + GAP_MS:
                rows[start, time + GAP_MS, channel] = count
                start, count = following, 0
    return collections.Counter(rows), late
