// Holds docs/src/asyncapi.json against frames, one a line on standard input: `{"from":"client"|"server","frame":...}`.
// Each must be exactly one message of its side; each message must have been seen, and each kind that it names.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import Ajv from 'ajv'

const load = (path) => JSON.parse(readFileSync(path, 'utf8'))
const document = load(new URL('../../docs/src/asyncapi.json', import.meta.url))
const faults = []

// the document itself, by the standard's own schema, which is older than ajv's strictness
const standard = load(createRequire(import.meta.url).resolve('@asyncapi/specs/schemas/3.0.0-without-$id.json'))
const isAsyncapi = new Ajv({ strict: false, validateFormats: false }).compile(standard)
if (!isAsyncapi(document)) faults.push(`not AsyncAPI 3.0: ${JSON.stringify(isAsyncapi.errors.slice(0, 3))}`)

const ajv = new Ajv({ allErrors: true, allowUnionTypes: true })
ajv.addVocabulary(Object.keys(document))
ajv.addSchema(document, 'hub')
const pointer = (reference) => reference.slice(1).split('/').slice(1).reduce((value, name) => value[name], document)

// the operations are what says which side sends a message
const side = ({ messages }) => messages.map(({ $ref }) => {
  const name = pointer($ref).$ref.split('/').at(-1)
  const { properties } = pointer($ref.replace('channels/hub/messages', 'components/messages')).payload
  const kinds = ['type', 'event', 'action'].flatMap((member) => (properties[member]?.enum ?? []).map((kind) => [member, kind]))
  return { name, seen: 0, kinds, fits: ajv.compile({ $ref: `hub#/components/messages/${name}/payload` }) }
})
const sides = { client: side(document.operations.receive), server: side(document.operations.send) }
const listed = [...sides.client, ...sides.server].map(({ name }) => name).sort()
const kept = Object.keys(document.components.messages).sort()
if (listed.join() !== kept.join()) faults.push('an operation lacks a message, or has one too many')

// why a frame does not fit, by the message that fits it best
function why(messages, frame) {
  const tried = messages.map(({ name, fits }) => {
    fits(frame)
    const unlike = fits.errors.some(({ instancePath, keyword }) =>
      ['/type', '/event'].includes(instancePath) && ['const', 'enum'].includes(keyword))
    return { name, errors: fits.errors, rank: fits.errors.length + (unlike ? 1000 : 0) }
  })
  const { name, errors } = tried.sort((a, b) => a.rank - b.rank)[0]
  const told = errors.map(({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`)
  return `the nearest is ${name}: ${told.join('; ')}`
}

const lines = readFileSync(0, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line))
for (const { from, frame } of lines) {
  const fitting = sides[from].filter(({ fits }) => fits(frame))
  for (const message of fitting) {
    message.seen += 1
    message.kinds = message.kinds.filter(([member, kind]) => frame[member] !== kind)
  }
  if (fitting.length === 1) continue
  const what = fitting.length ? fitting.map(({ name }) => name).join(' and ') : why(sides[from], frame)
  faults.push(`${from}: ${JSON.stringify(frame)}: ${what}`)
}
for (const { name, seen, kinds } of [...sides.client, ...sides.server]) {
  if (!seen) faults.push(`${name} was never seen`)
  else for (const [member, kind] of kinds) faults.push(`${name} with ${member} ${kind} was never seen`)
}

console.log(`${lines.length} frames, ${listed.length} messages`)
if (faults.length) {
  console.error(faults.join('\n'))
  process.exit(1)
}
