const NUMBERS = { SIGINT: 2, SIGTERM: 15 } as const

/** Aborted by the first Ctrl-C (or SIGTERM), for a command that wants to end in good order. The second ends the process at once. */
export function stopSignal(): AbortSignal {
  const stopping = new AbortController()
  for (const name of Object.keys(NUMBERS)) process.once(name, () => stopping.abort(name))
  return stopping.signal
}

/** The exit code that shells give to what was stopped so. */
export function exitCodeOf({ reason }: AbortSignal): number {
  return 128 + NUMBERS[reason as keyof typeof NUMBERS]
}
