"""The same windows in Spark Structured Streaming: append mode, so that each window is told once, when it is final.

    windows_spark.py BOOTSTRAP FROM INTO CHECKPOINT LIB WINDOW_MS GRACE_MS TRIGGER_MS

Prints {"state":"RUNNING"} once the query has started, {"counted":N} with each batch that had events, and ends with its standard input.
"""
import json
import os
import sys
import threading
from pathlib import Path

from pyspark.sql import SparkSession, functions
from pyspark.sql.streaming import StreamingQueryListener
from pyspark.sql.types import LongType, StringType, StructField, StructType

EVENT = StructType([StructField("timestamp", LongType()), StructField("channel_id", StringType()),
                    StructField("metadata", StructType([StructField("reaction", StringType())]))])


def say(**words):
    print(json.dumps(words), flush=True)


class Progress(StreamingQueryListener):
    counted = 0

    def onQueryStarted(self, event):
        pass

    def onQueryProgress(self, event):
        if event.progress.numInputRows:
            self.counted += event.progress.numInputRows
            say(counted=self.counted)

    def onQueryIdle(self, event):
        pass

    def onQueryTerminated(self, event):
        pass


def rows(spark, kafka, source, window_ms, grace_ms):
    events = spark.readStream.format("kafka").options(**kafka, subscribe=source, startingOffsets="earliest").load()
    event = functions.from_json(functions.col("value").cast("string"), EVENT)
    fields = events.select(event.alias("event")).select(
        functions.timestamp_millis("event.timestamp").alias("time"), functions.col("event.channel_id").alias("channel_id"),
        functions.col("event.metadata.reaction").alias("reaction"))
    window = functions.window("time", f"{window_ms} milliseconds")
    counted = fields.withWatermark("time", f"{grace_ms} milliseconds").groupBy(window, "channel_id", "reaction").count()
    row = functions.struct(functions.unix_millis("window.start").alias("window_start"), functions.unix_millis("window.end").alias("window_end"),
                           "channel_id", "reaction", "count")
    return counted.select(functions.to_json(row).alias("value"))


def main():
    bootstrap, source, into, checkpoint, lib, window_ms, grace_ms, trigger_ms = sys.argv[1:]
    jars = ",".join(str(jar) for jar in sorted(Path(lib).glob("*.jar")))
    spark = (SparkSession.builder.master("local[2]").config("spark.jars", jars).config("spark.ui.enabled", "false")
             .config("spark.sql.shuffle.partitions", "2").config("spark.driver.memory", "1g").getOrCreate())
    spark.sparkContext.setLogLevel("ERROR")
    spark.streams.addListener(Progress())
    kafka = {"kafka.bootstrap.servers": bootstrap}
    query = (rows(spark, kafka, source, window_ms, grace_ms).writeStream.format("kafka").options(**kafka, topic=into).outputMode("append")
             .option("checkpointLocation", checkpoint).trigger(processingTime=f"{trigger_ms} milliseconds").start())
    jvm = spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()
    say(state="RUNNING", jvm=jvm)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    query.awaitTermination()


main()
