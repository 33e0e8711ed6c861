/** A browser as far as cookies go: one jar, one cookie at a time, applied in the order in which answers arrive. */
export interface Client {
  readonly url: string
  cookie: string | undefined
  /** Every Set-Cookie line that came. */
  readonly setCookies: string[]
  get(path: string, init?: RequestInit): Promise<Reply>
  post(path: string, init?: RequestInit): Promise<Reply>
  /** A second browser with the same cookie, as a thief would have it. */
  copy(): Client
}

export interface Reply {
  readonly status: number
  readonly text: string
  readonly headers: Headers
}

export function client(url: string, cookie?: string): Client {
  const self: Client = {
    url,
    cookie,
    setCookies: [],
    async get(path, init = {}) {
      const headers = new Headers(init.headers)
      if (self.cookie !== undefined && !headers.has('cookie')) headers.set('cookie', self.cookie)
      const response = await fetch(url + path, { redirect: 'manual', ...init, headers })
      for (const line of response.headers.getSetCookie()) {
        if (!/^(__Host-|__Secure-)?id=/.test(line)) continue
        self.setCookies.push(line)
        const pair = line.split(';', 1)[0]!
        self.cookie = pair.endsWith('=') ? undefined : pair
      }
      return { status: response.status, text: await response.text(), headers: response.headers }
    },
    post: (path, init) => self.get(path, { method: 'POST', ...init }),
    copy: () => client(url, self.cookie),
  }
  return self
}
