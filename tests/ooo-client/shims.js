// What the published ooo-client takes for granted in a browser behind a bundler, for Node.
import { register } from 'node:module'
import WebSocket from 'ws'

// Like a bundler, take fast-json-patch by its `module` entry: its CommonJS one has no named exports.
register('data:text/javascript,' + encodeURIComponent(`
  export const resolve = (name, context, next) =>
    next(name === 'fast-json-patch' ? 'fast-json-patch/index.mjs' : name, context)
`))

// ky assigns `request.duplex`; in Node's fetch that property has a getter only.
Object.defineProperty(Request.prototype, 'duplex', { configurable: true, get: () => 'half', set: () => {} })

globalThis.WebSocket ??= WebSocket
globalThis.document = new EventTarget()
