/** What vitest's JSON reporter writes, as far as it is read here. */
interface Report {
  numPassedTests: number
  numFailedTests: number
  numPendingTests: number
  numTodoTests: number
  testResults: File[]
}
interface File {
  name: string
  message: string
  assertionResults: {
    status: string
    fullName: string
    /** Of every try: a test that passed has some only if it passed on a retry. */
    failureMessages: string[]
  }[]
}

/** How many tests ended in which way; each failure with its message, and each test that passed only on a retry, with its first failure. */
export function readReport(json: string) {
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(
    json,
  ) as Report
  return {
    passed: numPassedTests,
    failed: numFailedTests,
    skipped: numPendingTests + numTodoTests,
    failures: testResults.flatMap(failuresOf),
    retried: testResults.flatMap(retriesOf),
  }
}

const failuresOf = ({ name, message, assertionResults }: File) => [
  ...(message ? [`${name}: ${message}`] : []),
  ...assertionResults
    .filter(({ status }) => status === 'failed')
    .map(({ fullName, failureMessages }) => `${name} > ${fullName}\n${failureMessages.join('\n')}`),
]

const retriesOf = ({ name, assertionResults }: File) =>
  assertionResults
    .filter(({ status, failureMessages }) => status === 'passed' && failureMessages.length > 0)
    .map(({ fullName, failureMessages }) => `${name} > ${fullName}\n${failureMessages[0]}`)
