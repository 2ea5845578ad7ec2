import { createStep, localEngine } from '../../src/steps/step.ts'

/** Steps here and now, with no engine, no request and no journal around them. */
export const localStep = createStep(localEngine, (_phase, _options, work) => work())
