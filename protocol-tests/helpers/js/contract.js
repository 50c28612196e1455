// The helper contract for clients written in JavaScript; see ../../README.md. It judges nothing: the suite compares.
'use strict'

const readline = require('readline')

const lines = []
const say = event => {
  lines.push(JSON.stringify(event))
  if (lines.length >= 200) flush()
}
const flush = () => {
  if (lines.length > 0) process.stdout.write(lines.splice(0).join('\n') + '\n')
}

function options(argv) {
  const [verb, ...rest] = argv
  const found = { verb }
  for (let i = 0; i < rest.length; i += 1) {
    const name = rest[i].replace(/^--/, '')
    const hasValue = i + 1 < rest.length && !rest[i + 1].startsWith('--')
    found[name] = hasValue ? rest[(i += 1)] : true
  }
  return found
}

async function readRecords() {
  const records = []
  for await (const line of readline.createInterface({ input: process.stdin })) records.push(JSON.parse(line))
  return records
}

// Runs the suite's commands in order; the end of standard input is a `stop`.
async function followCommands({ commit, stop }) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line.trim() === 'commit') {
      say({ committed: await commit() })
      flush()
    } else if (line.trim() === 'stop') break
  }
  say({ stopped: await stop() })
  flush()
}

async function main(client) {
  const args = options(process.argv.slice(2))
  if (args.verb === 'version') {
    say({ version: client.version })
  } else if (args.verb === 'create') {
    await client.create(args.bootstrap, args.topic, Number(args.partitions))
    say({ created: args.topic })
  } else if (args.verb === 'produce') {
    say({ produced: await client.produce(args, await readRecords()) })
  } else if (args.verb === 'member') {
    await client.member(args)
  } else if (args.verb === 'times') {
    for (const found of await client.times(args)) say(found)
  } else throw new Error(`no such verb: ${args.verb}`)
  flush()
}

function run(client) {
  main(client).then(
    () => process.exit(0),
    error => {
      flush()
      process.stderr.write(`${error.stack}\n`)
      process.exit(1)
    },
  )
}

module.exports = { run, say, flush, followCommands }
