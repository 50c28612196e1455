"""Spark Structured Streaming: copies a topic, with a checkpoint, until standard input ends; then reads the copy as a table.

    spark_copy.py BOOTSTRAP FROM INTO CHECKPOINT LIB

Prints JSON lines: {"batch": rows} for each batch that had rows, at the end {"rows": .., "distinct": ..} of what the copy holds.
"""
import json
import sys
import threading
from pathlib import Path

from pyspark.sql import SparkSession, functions
from pyspark.sql.streaming import StreamingQueryListener

TRIGGER = "100 milliseconds"


class Progress(StreamingQueryListener):
    def onQueryStarted(self, event):
        say(started=True)

    def onQueryProgress(self, event):
        if event.progress.numInputRows:
            say(batch=event.progress.numInputRows)

    def onQueryIdle(self, event):
        pass

    def onQueryTerminated(self, event):
        if event.exception:
            say(failed=event.exception)


def say(**words):
    print(json.dumps(words), flush=True)


def main():
    bootstrap, source, into, checkpoint, lib = sys.argv[1:]
    jars = ",".join(str(jar) for jar in sorted(Path(lib).glob("*.jar")))
    spark = (SparkSession.builder.master("local[2]").config("spark.jars", jars).config("spark.ui.enabled", "false")
             .config("spark.sql.shuffle.partitions", "2").config("spark.driver.memory", "768m").getOrCreate())
    spark.sparkContext.setLogLevel("WARN")
    spark.streams.addListener(Progress())
    kafka = {"kafka.bootstrap.servers": bootstrap}
    rows = spark.readStream.format("kafka").options(**kafka, subscribe=source, startingOffsets="earliest").load()
    query = (rows.select("key", "value").writeStream.format("kafka").options(**kafka, topic=into)
             .option("checkpointLocation", checkpoint).trigger(processingTime=TRIGGER).start())
    threading.Thread(target=lambda: (sys.stdin.read(), query.stop()), daemon=True).start()
    query.awaitTermination()
    copy = spark.read.format("kafka").options(**kafka, subscribe=into).load()
    found = copy.agg(functions.count("*").alias("rows"), functions.countDistinct("value").alias("distinct")).first()
    say(rows=found["rows"], distinct=found["distinct"])
    spark.stop()


main()
