/** What the hook in the worker is to do; read from a file at each effect, so that the worker need not be started anew for it. */
export type Order =
  | { mode: 'record'; to: string }
  | { mode: 'stop'; point: string; when: 'before' | 'after'; marker: string; release: string }

/** What the hook writes to the marker once it has stopped: `landed`, whether the effect has been made. */
export type Stopped = { point: string; when: 'before' | 'after'; pid: number; landed: boolean }
