// mqtt.js over WebSocket as a subscriber: mqttjs.js URL FILTER LEVEL (4 is MQTT 3.1.1) prints `{"subscribed": …}`, then a line per message.
'use strict'

const mqtt = require('mqtt')

const [url, filter, level] = process.argv.slice(2)
const say = event => process.stdout.write(`${JSON.stringify(event)}\n`)
const fail = error => {
  process.stderr.write(`${error.stack || error}\n`)
  process.exit(1)
}

const client = mqtt.connect(url, { protocolVersion: Number(level), reconnectPeriod: 0, connectTimeout: 10000 })
client.on('error', fail)
client.on('close', () => fail('the connection was closed'))
client.on('connect', () =>
  client.subscribe(filter, { qos: 0 }, (error, granted) => {
    if (error) fail(error)
    say({ subscribed: granted.every(({ qos }) => qos < 128) })
  }),
)
client.on('message', (topic, payload) => say({ topic, payload: payload.toString() }))
