/** @rudderstack/rudder-sdk-node makes the calls it is told. */

import Analytics from '@rudderstack/rudder-sdk-node';
import { asSegment, make, readJob, report } from './calls.mjs';

const job = await readJob();
const errors = [];
const handled = job.handled && { errorHandler: (error) => errors.push(error) };
const client = new Analytics(job.key, { dataPlaneUrl: job.host, flushAt: 100, logLevel: 'error', ...handled, ...job.options });

const given = ([, value]) => value !== undefined;
const refused = await make(job, (call) =>
  client[call.type](Object.fromEntries(Object.entries(asSegment(call)).filter(given))),
);
do {
  await client.flush().catch((error) => errors.push(error));
} while (client.queue.length > 0);
report(refused, errors);
