// kafkajs behind the helper contract. gzip is built in; snappy, lz4 and zstd come as codec packages, as its manual says.
'use strict'

const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
const SnappyCodec = require('kafkajs-snappy')
const LZ4 = require('kafkajs-lz4')
const { ZstdCodec } = require('zstd-codec')
const { run, say, flush, followCommands } = require('./contract')

const HEARTBEAT_MS = 200
const FLUSH_MS = 50
// The members poll this long at most for new records, so that a stop is quick.
const MAX_WAIT_MS = 100
const SEND_RECORDS = 1000

CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
CompressionCodecs[CompressionTypes.LZ4] = new LZ4().codec
// @kafkajs/zstd binds a native library that no longer builds on current Node; this codec is the same format in WebAssembly.
CompressionCodecs[CompressionTypes.ZSTD] = () => {
  const zstd = new Promise(resolve => ZstdCodec.run(z => resolve(new z.Simple())))
  return {
    compress: async encoder => Buffer.from((await zstd).compress(encoder.buffer)),
    decompress: async buffer => Buffer.from((await zstd).decompress(buffer)),
  }
}

const kafka = bootstrap => new Kafka({ brokers: [bootstrap], logLevel: logLevel.WARN, logCreator: toStderr })
const toStderr = () => ({ namespace, log }) => process.stderr.write(`${namespace}: ${JSON.stringify(log)}\n`)
const codecOf = name => CompressionTypes[{ none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }[name]]

const headersOf = pairs => Object.fromEntries(pairs)
const seen = (partition, m) => ({
  p: partition,
  o: Number(m.offset),
  t: Number(m.timestamp),
  k: m.key.toString(),
  v: m.value.toString(),
  h: Object.entries(m.headers).map(([name, value]) => [name, value.toString()]),
})

async function create(bootstrap, topic, partitions) {
  const admin = kafka(bootstrap).admin()
  await admin.connect()
  const made = await admin.createTopics({ topics: [{ topic, numPartitions: partitions }], waitForLeaders: true })
  await admin.disconnect()
  if (!made) throw new Error(`${topic} was there already`)
}

async function produce({ bootstrap, topic, codec, idempotent }, records) {
  const producer = kafka(bootstrap).producer({ idempotent: Boolean(idempotent), maxInFlightRequests: 1 })
  await producer.connect()
  let produced = 0
  for (let i = 0; i < records.length; i += SEND_RECORDS) {
    const messages = records
      .slice(i, i + SEND_RECORDS)
      .map(r => ({ key: r.k, value: r.v, headers: headersOf(r.h), timestamp: String(r.t) }))
    await producer.send({ topic, acks: -1, compression: codecOf(codec), messages })
    produced += messages.length
  }
  await producer.disconnect()
  return produced
}

async function member({ bootstrap, topic, group, count }) {
  const consumer = kafka(bootstrap).consumer({
    groupId: group,
    heartbeatInterval: HEARTBEAT_MS,
    maxWaitTimeInMs: MAX_WAIT_MS,
  })
  const position = {}
  let delivered = 0
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    say({ assigned: [...(payload.memberAssignment[topic] || [])].sort((a, b) => a - b) })
    flush()
  })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      if (delivered >= Number(count)) return
      say({ record: seen(partition, message) })
      position[partition] = Number(message.offset) + 1
      delivered += 1
      if (delivered === Number(count)) {
        consumer.pause([{ topic }])
        say({ reached: delivered })
        flush()
      }
    },
  })
  setInterval(flush, FLUSH_MS).unref()
  await followCommands({
    commit: async () => {
      await consumer.commitOffsets(Object.entries(position).map(([p, o]) => ({ topic, partition: Number(p), offset: String(o) })))
      return position
    },
    stop: async () => {
      await consumer.disconnect()
      return delivered
    },
  })
}

// The offset for a time later than every record is the end of the partition in this client; the contract says -1.
async function times({ bootstrap, topic, timestamps }) {
  const admin = kafka(bootstrap).admin()
  await admin.connect()
  const ends = new Map((await admin.fetchTopicOffsets(topic)).map(p => [p.partition, p.high]))
  const found = []
  for (const timestamp of timestamps.split(',').map(Number)) {
    const offsets = await admin.fetchTopicOffsetsByTimestamp(topic, timestamp)
    offsets.sort((a, b) => a.partition - b.partition)
    for (const { partition, offset } of offsets) {
      found.push({ timestamp, partition, offset: offset === ends.get(partition) ? -1 : Number(offset), read: null })
    }
  }
  await admin.disconnect()
  await readFirst(bootstrap, topic, found.filter(({ offset }) => offset >= 0))
  return found
}

// Reads each wanted place in turn: per partition, a seek to the next place follows the record that was read.
async function readFirst(bootstrap, topic, places) {
  if (places.length === 0) return
  const consumer = kafka(bootstrap).consumer({ groupId: `reader-${topic}`, maxWaitTimeInMs: MAX_WAIT_MS })
  const next = partition => places.find(place => place.partition === partition && place.read === null)
  const seek = ({ partition, offset }) => consumer.seek({ topic, partition, offset: String(offset) })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
    const eachMessage = async ({ partition, message }) => {
      const place = next(partition)
      if (!place || Number(message.offset) < place.offset) return
      place.read = seen(partition, message)
      if (places.every(({ read }) => read !== null)) resolve()
      else if (next(partition)) seek(next(partition))
      else consumer.pause([{ topic, partitions: [partition] }])
    }
    consumer.run({ autoCommit: false, eachMessage }).catch(reject)
    for (const partition of new Set(places.map(place => place.partition))) seek(next(partition))
  })
  await consumer.disconnect()
}

run({ version: require('kafkajs/package.json').version, create, produce, member, times })
