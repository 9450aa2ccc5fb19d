/** @segment/analytics-node makes the calls it is told. */

import { Analytics } from '@segment/analytics-node';
import { asSegment, make, readJob, report } from './calls.mjs';

const job = await readJob();
const errors = [];
const client = new Analytics({ writeKey: job.key, host: job.host, flushAt: 100, ...job.options });
client.on('error', (error) => errors.push(`${error.code} ${error.reason}`));

const refused = await make(job, (call) => client[call.type](asSegment(call)));
await client.closeAndFlush({ timeout: 60_000 });
report(refused, errors);
