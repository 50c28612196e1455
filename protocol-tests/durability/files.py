"""Apache Kafka's dump-log over every kind of file of the partitions: after kills, rolls, retention and compaction."""
from pathlib import Path

from suite import dump_log

OPTIONS = {".log": ["--deep-iteration"], ".index": ["--verify-index-only"], ".timeindex": ["--verify-index-only"],
           ".snapshot": [], ".txnindex": []}
# What dump-log says of a log from which compaction took records, and means no harm by.
OF_COMPACTION = "Non-consecutive offsets"


def check_all(tools, data_dir, topics):
    """How many files of each kind dump-log has read; it complains of none. `topics`: name -> (partitions, cleanup)."""
    counts = dict.fromkeys(OPTIONS, 0)
    for topic, (partitions, cleanup) in topics.items():
        folders = [folder for partition in range(partitions) for folder in Path(data_dir).glob(f"**/{topic}-{partition}")]
        assert len(folders) == partitions, folders
        for suffix, options in OPTIONS.items():
            files = chosen(sorted(folders[0].glob(f"*{suffix}")))
            if files:
                counts[suffix] += len(files)
                check(tools, files, options, cleanup)
        for folder in folders:
            check_text_files(folder)
    return counts


def chosen(files):
    """Of one partition the oldest and the two newest: dump-log takes its time."""
    return files if len(files) < 4 else [files[0], *files[-2:]]


def check(tools, files, options, cleanup):
    for line in tools.run("dump-log", *options, "--files", ",".join(map(str, files))):
        if cleanup != "compact" or OF_COMPACTION not in line:
            dump_log.check_no_complaint(line)


def check_text_files(folder):
    """Version, number of entries, entries."""
    epochs = (folder / "leader-epoch-checkpoint").read_text(encoding="ascii").splitlines()
    assert epochs[0] == "0" and int(epochs[1]) == len(epochs) - 2 > 0, (folder, epochs)
    leftovers = [file.name for file in folder.iterdir() if file.suffix in (".tmp", ".cleaned", ".swap")]
    assert not leftovers, (folder, leftovers)
