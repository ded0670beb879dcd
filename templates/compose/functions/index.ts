// The first thing every request to an edge function meets: it checks the caller's
// token, then hands the request to a worker of the function that the path names.
//
// A worker gets the environment below and nothing else. The secret that signs
// tokens stays here. No dependency is fetched: the runtime must start without a
// network.

const SECRET = Deno.env.get('JWT_SECRET') ?? ''
const VERIFY_JWT = Deno.env.get('VERIFY_JWT') !== 'false'
// Functions that check their callers themselves (webhooks with a signature).
const UNVERIFIED = new Set((Deno.env.get('UNVERIFIED_FUNCTIONS') ?? '').split(',').filter(Boolean))
const PASSED_ON = [
  'SUPABASE_URL',
  'SUPABASE_PUBLIC_URL',
  'SUPABASE_ANON_KEY',
  'SUPABASE_SERVICE_ROLE_KEY',
  'SUPABASE_PUBLISHABLE_KEYS',
  'SUPABASE_SECRET_KEYS',
  'SUPABASE_DB_URL',
]
// A function is a folder; "main" is this one, "_shared" and the like are no functions.
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_-]*$/

const encoder = new TextEncoder()

const key = crypto.subtle.importKey('raw', encoder.encode(SECRET || ' '), { name: 'HMAC', hash: 'SHA-256' }, false, ['verify'])

function answer(status, code, message) {
  return new Response(JSON.stringify({ code, message, msg: message }), {
    status,
    headers: { 'Content-Type': 'application/json', 'sb-error-code': code },
  })
}

function decode(part) {
  const text = atob(part.replaceAll('-', '+').replaceAll('_', '/'))
  return Uint8Array.from(text, (c) => c.charCodeAt(0))
}

function claims(part) {
  return JSON.parse(new TextDecoder().decode(decode(part)))
}

// refusal says why a caller's token is not good enough, or nothing when it is.
async function refusal(req) {
  const header = req.headers.get('authorization')
  if (!header) return answer(401, 'UNAUTHORIZED_NO_AUTH_HEADER', 'Missing authorization header')
  const [scheme, token, ...rest] = header.split(' ')
  const parts = (token ?? '').split('.')
  if (scheme !== 'Bearer' || rest.length > 0 || parts.length !== 3) {
    return answer(401, 'UNAUTHORIZED_INVALID_JWT_FORMAT', 'Invalid JWT format')
  }
  try {
    const { alg } = claims(parts[0])
    if (alg !== 'HS256') {
      return answer(401, 'UNAUTHORIZED_UNSUPPORTED_TOKEN_ALGORITHM', 'Unsupported JWT algorithm')
    }
    const signed = encoder.encode(parts[0] + '.' + parts[1])
    const now = Date.now() / 1000
    const { exp, nbf } = claims(parts[1])
    if (SECRET !== '' && (await crypto.subtle.verify('HMAC', await key, decode(parts[2]), signed)) &&
        (exp === undefined || (typeof exp === 'number' && exp > now)) &&
        (nbf === undefined || (typeof nbf === 'number' && nbf <= now))) {
      return
    }
    return answer(401, 'UNAUTHORIZED_LEGACY_JWT', 'Invalid JWT')
  } catch {
    return answer(401, 'UNAUTHORIZED_INVALID_JWT_FORMAT', 'Invalid JWT format')
  }
}

async function serve(req) {
  const name = new URL(req.url).pathname.split('/')[1]
  if (!name) return answer(400, 'BAD_REQUEST', 'missing function name in request')
  if (!NAME.test(name) || name === 'main') return answer(404, 'NOT_FOUND', 'Requested function was not found')

  // A browser's preflight carries no token.
  if (VERIFY_JWT && !UNVERIFIED.has(name) && req.method !== 'OPTIONS') {
    const refused = await refusal(req)
    if (refused) return refused
  }

  try {
    const worker = await EdgeRuntime.userWorkers.create({
      servicePath: '/home/deno/functions/' + name,
      memoryLimitMb: 150,
      workerTimeoutMs: 60_000,
      noModuleCache: false,
      importMapPath: null,
      envVars: PASSED_ON.map((k) => [k, Deno.env.get(k) ?? '']),
    })
    return await worker.fetch(req)
  } catch (e) {
    // What went wrong is for the log: it can hold paths and values.
    console.error('function ' + name + ':', e)
    return answer(500, 'WORKER_ERROR', 'The function could not be run')
  }
}

Deno.serve(serve)
