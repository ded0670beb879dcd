package stacks

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// dispatcher exercises functions/main/index.ts outside of the edge runtime: it
// is written without type annotations, so any JavaScript engine reads it.
const dispatcher = `
import { createHmac } from 'node:crypto'
const env = { JWT_SECRET: 's'.repeat(40), VERIFY_JWT: 'true', UNVERIFIED_FUNCTIONS: 'hook', SUPABASE_URL: 'u', POSTGRES_PASSWORD: 'p' }
let serve, created
globalThis.Deno = { env: { get: (k) => env[k] }, serve: (f) => { serve = f } }
globalThis.EdgeRuntime = { userWorkers: { create: async (o) => { created = o; return { fetch: async () => new Response('ran') } } } }
console.error = () => {}
await import(process.argv[2])
const b64 = (v) => Buffer.from(JSON.stringify(v)).toString('base64url')
const sign = (claims, secret = env.JWT_SECRET, alg = 'HS256') => {
  const head = b64({ alg, typ: 'JWT' }) + '.' + b64(claims)
  return head + '.' + createHmac('sha256', secret).update(head).digest('base64url')
}
const now = Math.floor(Date.now() / 1000)
const good = sign({ role: 'anon', exp: now + 60 })
let failed = 0
const check = async (what, want, path, authorization, method = 'POST') => {
  created = undefined
  const res = await serve(new Request('http://functions' + path, { method, headers: authorization ? { authorization } : {} }))
  if (res.status !== want || (created !== undefined) !== (want === 200)) {
    console.log(what + ': status ' + res.status + ', want ' + want + ', worker ' + (created !== undefined))
    failed = 1
  }
}
await check('a good token', 200, '/hello/x', 'Bearer ' + good)
if (!created.envVars.some(([k]) => k === 'SUPABASE_URL') || created.envVars.some(([k, v]) => k === 'JWT_SECRET' || k === 'POSTGRES_PASSWORD' || v === env.JWT_SECRET)) {
  console.log('a worker sees', created.envVars); failed = 1
}
await check('no token', 401, '/hello')
await check('another secret', 401, '/hello', 'Bearer ' + sign({ exp: now + 60 }, 'x'.repeat(40)))
await check('expired', 401, '/hello', 'Bearer ' + sign({ exp: now - 1 }))
await check('not yet', 401, '/hello', 'Bearer ' + sign({ nbf: now + 60 }))
await check('alg none', 401, '/hello', 'Bearer ' + b64({ alg: 'none' }) + '.' + b64({}) + '.')
await check('garbage', 401, '/hello', 'Bearer a.b.c')
await check('another scheme', 401, '/hello', 'Basic ' + good)
await check('a changed payload', 401, '/hello', 'Bearer ' + good.split('.')[0] + '.' + b64({ role: 'service_role' }) + '.' + good.split('.')[2])
await check('a preflight', 200, '/hello', undefined, 'OPTIONS')
await check('its own check', 200, '/hook')
await check('no name', 400, '/', 'Bearer ' + good)
await check('the dispatcher', 404, '/main', 'Bearer ' + good)
await check('shared code', 404, '/_shared', 'Bearer ' + good)
await check('a hidden folder', 404, '/.git', 'Bearer ' + good)
await check('a way out', 404, '/..%2f', 'Bearer ' + good)
process.exit(failed)
`

func TestFunctionsAreServedToSignedTokensOnly(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("node is not installed; .ci/setup installs it")
	}
	dir := t.TempDir()
	index, script := filepath.Join(dir, "index.mjs"), filepath.Join(dir, "test.mjs")
	for name, content := range map[string][]byte{index: render(t, example()).file("supabase/functions/main/index.ts"), script: []byte(dispatcher)} {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("node", script, index).CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}
