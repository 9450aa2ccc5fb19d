/** @jitsu/js in Node makes the calls it is told. */

import { jitsuAnalytics } from '@jitsu/js';
import { asJitsu, make, readJob, report } from './calls.mjs';

const job = await readJob();
const errors = [];
const errorPolicy = (message) => errors.push(message);
const client = jitsuAnalytics({ host: job.host, writeKey: job.key, fetch, errorPolicy, ...job.options });

// What it says to the console would be mistaken for the report.
console.log = console.error;
report(await make(job, asJitsu(client)), errors);
