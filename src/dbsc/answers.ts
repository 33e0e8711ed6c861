/** What browsers are told, and what they make of it. docs/dbsc.md has the table. */

/** The browser asks again later, and keeps its session until then. Never 429, which ends it. */
export function tryLater(): Response {
  return answer(503, 'the session is not to be had at the moment', { 'Retry-After': '1' })
}

/** It asks no more, and forgets its key. */
export function over(id: string | undefined): Response {
  const shown = id !== undefined && /^[A-Za-z0-9_-]{1,64}$/.test(id) ? { session_identifier: id } : {}
  return answer(200, JSON.stringify({ ...shown, continue: false }), JSON_TYPE)
}

/** It signs the challenge and asks again. Without the id, or with another, it would give up. */
export function prove(challenge: string, id: string): Response {
  return answer(403, 'sign the challenge', challengeHeader(challenge, id))
}

/** Nothing in the body: it goes on as it was told at the registration. */
export function refreshed(cookie: string, challenge: string, id: string): Response {
  return answer(200, null, { 'Set-Cookie': cookie, ...challengeHeader(challenge, id) })
}

export function registered(cookie: string, challenge: string, id: string, instructions: object): Response {
  const headers = { ...JSON_TYPE, 'Set-Cookie': cookie, ...challengeHeader(challenge, id) }
  return answer(200, JSON.stringify({ session_identifier: id, ...instructions }), headers)
}

/** Which check it failed is in the event, and nothing for whoever made it. */
export function refused(): Response {
  return answer(400, 'this session cannot be bound like this')
}

/** The same page again, and this time it is a page of the site that asks for it. */
export function askAgain(): Response {
  return answer(200, '', { 'Content-Type': 'text/html; charset=utf-8', Refresh: '0', Vary: 'Cookie' })
}

export function onlyPost(): Response {
  return answer(405, 'POST only', { Allow: 'POST' })
}

export function failed(): Response {
  return answer(500, 'Internal Server Error')
}

const JSON_TYPE = { 'Content-Type': 'application/json' }

function challengeHeader(challenge: string, id: string): Record<string, string> {
  return { 'Secure-Session-Challenge': `"${challenge}";id="${id}"` }
}

function answer(status: number, body: string | null, headers: Record<string, string> = {}): Response {
  return new Response(body, {
    status,
    headers: {
      ...(body !== null && { 'Content-Type': 'text/plain; charset=utf-8' }),
      'Cache-Control': 'no-store',
      // How long an answer takes tells whether somebody is logged in.
      'Cross-Origin-Resource-Policy': 'same-origin',
      ...headers,
    },
  })
}
