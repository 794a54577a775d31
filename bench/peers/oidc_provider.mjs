// node oidc-provider with everything in SQLite, the client, too: node oidc_provider.mjs PORT
import { generateKeyPairSync } from 'node:crypto'
import Database from 'better-sqlite3'
import Provider from 'oidc-provider'

const { BENCH_DATABASE, BENCH_CLIENT_ID, BENCH_CLIENT_SECRET } = process.env
const port = Number(process.argv[2])
const database = new Database(BENCH_DATABASE)
database.pragma('journal_mode = WAL')
database.pragma('synchronous = NORMAL')

// One table a model; statements are prepared once.
class Rows {
  constructor (name) {
    database.exec(`CREATE TABLE IF NOT EXISTS ${name}
      (id TEXT PRIMARY KEY, payload TEXT NOT NULL, expires_at INTEGER) WITHOUT ROWID`)
    this.put = database.prepare(`INSERT OR REPLACE INTO ${name} VALUES (?, ?, ?)`)
    this.get = database.prepare(`SELECT payload FROM ${name} WHERE id = ?`)
    this.remove = database.prepare(`DELETE FROM ${name} WHERE id = ?`)
  }

  async upsert (id, payload, expiresIn) {
    const expires = expiresIn ? Math.floor(Date.now() / 1000) + expiresIn : null
    this.put.run(id, JSON.stringify(payload), expires)
  }

  async find (id) {
    const row = this.get.get(id)
    return row && JSON.parse(row.payload)
  }

  async destroy (id) { this.remove.run(id) }
}

await new Rows('Client').upsert(BENCH_CLIENT_ID, {
  client_id: BENCH_CLIENT_ID,
  client_secret: BENCH_CLIENT_SECRET,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  scope: 'read',
  id_token_signed_response_alg: 'ES256',
})

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const provider = new Provider(`http://127.0.0.1:${port}`, {
  adapter: Rows,
  clients: [],
  scopes: ['read'],
  features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
  ttl: { ClientCredentials: 900 },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' }] },
  cookies: { keys: ['a key for measuring, and for nothing else'] },
})
provider.listen(port, '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
