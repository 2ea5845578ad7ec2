import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { meshJsonSchema } from '../src/plan/mesh.ts'

/** docs/mesh.schema.json, for editors. Pure; run as a script, this file writes it. */
export const renderMeshSchema = () => `${JSON.stringify(meshJsonSchema(), null, 2)}\n`

if (import.meta.main) writeFileSync(join(import.meta.dirname, 'mesh.schema.json'), renderMeshSchema())
