/** What `work` comes to; if that takes too long, the error that `late` makes. The work goes on, and nobody hears of it. */
export function inTime<T>(milliseconds: number, work: Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), milliseconds)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/**
 * Waits so long for each answer of a connection whose driver would wait for ever. When one is missing, `leave` is to see to it that nothing new
 * begins here; `end` follows when nothing is under way here any more, since all have their answers or have waited as long. If `leave` fails, this
 * connection stays in use, and the next answer that is missing has it tried again.
 */
export function patientFor(
  milliseconds: number,
  leave: () => Promise<void>,
  end: () => unknown,
): <T>(answer: Promise<T>) => Promise<T> {
  let underWay = 0
  let isLeaving = false
  let isLeft = false
  const endIfOver = () => {
    if (isLeft && underWay === 0) end()
  }
  const tryToLeave = async () => {
    if (isLeaving) return
    isLeaving = true
    try {
      await leave()
      isLeft = true
      endIfOver()
    } catch {
      // Whoever has no answer hears of that.
      isLeaving = false
    }
  }
  const late = () => {
    void tryToLeave()
    return noAnswerWithin(milliseconds)
  }
  return async (answer) => {
    underWay++
    try {
      return await inTime(milliseconds, answer, late)
    } finally {
      underWay--
      endIfOver()
    }
  }
}

export function noAnswerWithin(milliseconds: number): Error {
  return new Error(`no answer within ${milliseconds} ms`)
}
