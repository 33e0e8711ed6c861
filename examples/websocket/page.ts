/** The only page: to sign in, or to talk. */
export function page(user: string | undefined): string {
  return `<!doctype html>
<meta charset="utf-8">
<title>A room to talk in</title>
${user === undefined ? SIGN_IN : TALK}`
}

const SIGN_IN = `<form method="post" action="/login">
  <label>Your name, any: <input name="name" required></label> <button>Come in</button>
</form>`

const TALK = `<form id="say"><input id="words" autocomplete="off" autofocus> <button>Say it</button></form>
<form method="post" action="/logout"><button>Sign out</button></form>
<pre id="talk"></pre>
<script>
  const tell = (line) => talk.append(line + '\\n')
  const socket = new WebSocket(location.href.replace('http', 'ws'))
  socket.onmessage = ({ data }) => tell(data)
  socket.onclose = ({ code }) => tell(code === 4001 ? 'You were signed out.' : 'The connection is gone: reload the page.')
  say.onsubmit = (event) => {
    event.preventDefault()
    socket.send(words.value)
    words.value = ''
  }
</script>`
