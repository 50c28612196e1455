// Admin calls through kafkajs: what each of them gave, or the error's kind, a JSON line each. The contract is that of admin_contract.py.
'use strict'

const { Kafka, ConfigResourceTypes, logLevel } = require('kafkajs')

const PATIENCE = 100
const PAUSE_MS = 100

const args = Object.fromEntries(
  process.argv.slice(2).reduce((pairs, word, i, all) => (i % 2 ? pairs : [...pairs, [word.slice(2), all[i + 1]]]), []),
)

// The broker's error by its name: the words around it are the client's.
const kind = error => {
  const inner = (error.errors || error.groups || error.partitions || [])[0]
  return error.type || (inner && kind(inner.error || inner)) || error.name
}

async function tell(call, work) {
  let said
  try {
    said = { answer: await work() }
  } catch (error) {
    said = { error: kind(error) }
  }
  process.stdout.write(`${JSON.stringify({ call, ...said })}\n`)
}

// Apache Kafka answers a change before it has taken effect.
async function until(holds, ask) {
  for (let i = 0; ; i += 1) {
    const found = await ask()
    if (holds(found) || i === PATIENCE) return found
    await new Promise(done => setTimeout(done, PAUSE_MS))
  }
}

const byPartition = (a, b) => a.partition - b.partition

async function topics(admin, topic) {
  const create = () => admin.createTopics({ topics: [{ topic, numPartitions: 2, replicationFactor: 1 }], waitForLeaders: true })
  await tell('createTopics', create)
  await tell('createTopics again', create)
  await tell('createTopics, a bad name', () => admin.createTopics({ topics: [{ topic: 'a/b' }] }))
  await tell('listTopics', async () => (await admin.listTopics()).includes(topic))
  await tell('createPartitions', () => admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] }))
  await tell('createPartitions, fewer', () => admin.createPartitions({ topicPartitions: [{ topic, count: 1 }] }))
  await tell('fetchTopicMetadata', async () => {
    const metadata = await until(
      ({ topics: [{ partitions }] }) => partitions.length === 3 && partitions.every(p => p.leader >= 0),
      () => admin.fetchTopicMetadata({ topics: [topic] }),
    )
    return metadata.topics[0].partitions
      .map(({ partitionErrorCode, partitionId, leader, replicas, isr, offlineReplicas }) =>
        ({ partitionErrorCode, partition: partitionId, leader, replicas, isr, offlineReplicas }))
      .sort(byPartition)
  })
  await tell('fetchTopicMetadata, unknown', () => admin.fetchTopicMetadata({ topics: [`${topic}/unknown`] }))
}

async function settings(admin, topic) {
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
  await tell('alterConfigs', async () => {
    const { resources } = await admin.alterConfigs({
      validateOnly: false,
      resources: [{ ...resource, configEntries: [{ name: 'retention.ms', value: '86400000' }] }],
    })
    return resources.map(({ errorCode, resourceName }) => ({ errorCode, resourceName }))
  })
  await tell('alterConfigs, an unknown one', () => admin.alterConfigs({
    validateOnly: false,
    resources: [{ ...resource, configEntries: [{ name: 'no.such.setting', value: '1' }] }],
  }))
  await tell('describeConfigs', async () => {
    const described = await until(
      ({ resources: [{ configEntries }] }) => configEntries.some(entry => entry.configValue === '86400000'),
      () => admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ ...resource, configNames: ['retention.ms', 'segment.bytes'] }],
      }),
    )
    return described.resources[0].configEntries
      .map(({ configName, configValue, configSource, isDefault, readOnly, isSensitive }) =>
        ({ configName, configValue, configSource, isDefault, readOnly, isSensitive }))
      .sort((a, b) => (a.configName < b.configName ? -1 : 1))
  })
}

async function offsets(admin, producer, topic, group) {
  const before = Date.now() - 1000
  await producer.connect()
  await producer.send({ topic, messages: [1, 2, 3].map(n => ({ partition: 0, value: `${n}`, timestamp: `${before + n}` })) })
  await producer.disconnect()
  await tell('fetchTopicOffsets', async () => (await admin.fetchTopicOffsets(topic)).sort(byPartition))
  await tell('fetchTopicOffsetsByTimestamp', async () =>
    (await admin.fetchTopicOffsetsByTimestamp(topic, before + 2)).sort(byPartition))
  await tell('deleteTopicRecords', () => admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '1' }] }))
  await tell('deleteTopicRecords, too many', () => admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '9' }] }))
  await tell('setOffsets', () => admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: '2' }] }))
  await tell('fetchOffsets', async () => (await admin.fetchOffsets({ groupId: group, topics: [topic] }))
    .map(({ topic: name, partitions }) => ({ name, partitions: partitions.sort(byPartition) })))
}

async function groups(admin, group) {
  await tell('listGroups', async () => (await admin.listGroups()).groups.filter(({ groupId }) => groupId === group))
  await tell('describeGroups', async () =>
    (await admin.describeGroups([group])).groups.map(({ errorCode, groupId, state, protocolType, protocol, members }) =>
      ({ errorCode, groupId, state, protocolType, protocol, members })))
  await tell('deleteGroups', () => admin.deleteGroups([group]))
  await tell('deleteGroups again', () => admin.deleteGroups([group]))
}

async function cluster(admin, topic) {
  await tell('describeCluster', async () => {
    const { brokers, controller } = await admin.describeCluster()
    return { brokers: brokers.map(({ nodeId }) => nodeId), controller }
  })
  await tell('alterPartitionReassignments', () =>
    admin.alterPartitionReassignments({ topics: [{ topic, partitionAssignment: [{ partition: 0, replicas: [1] }] }] }))
  await tell('alterPartitionReassignments, elsewhere', () =>
    admin.alterPartitionReassignments({ topics: [{ topic, partitionAssignment: [{ partition: 0, replicas: [77] }] }] }))
  await tell('listPartitionReassignments', async () =>
    (await admin.listPartitionReassignments({ topics: [{ topic, partitions: [0] }] })).topics)
}

async function main() {
  const { bootstrap, topic, group } = args
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { retries: 8 } })
  const admin = kafka.admin()
  await admin.connect()
  await topics(admin, topic)
  await settings(admin, topic)
  await offsets(admin, kafka.producer(), topic, group)
  await groups(admin, group)
  await cluster(admin, topic)
  await tell('deleteTopics', () => admin.deleteTopics({ topics: [topic] }))
  await admin.disconnect()
}

main().then(
  () => process.exit(0),
  error => {
    process.stderr.write(`${error.stack}\n`)
    process.exit(1)
  },
)
