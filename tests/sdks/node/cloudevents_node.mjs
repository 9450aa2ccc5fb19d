/** cloudevents sends what it is told: binary where its headers can hold it, and structured by turns. */

import { CloudEvent, emitterFor, httpTransport, Mode } from 'cloudevents';
import { asData, make, readJob, report } from './calls.mjs';

const job = await readJob();
const transport = httpTransport(`${job.host}/events`);
const emit = { binary: emitterFor(transport, { mode: Mode.BINARY }), structured: emitterFor(transport, { mode: Mode.STRUCTURED }) };
const errors = [];

// Without a key: the source of its events says whose they are.
report(
  await make(job, async (call) => {
    const type = call.event ?? `example.${call.type}`;
    const event = new CloudEvent({
      type, source: job.app, subject: call.user, data: asData(call), ...(call.time && { time: call.time.toISOString() }),
    });
    const mode = call.n % 2 || /[^\x20-\x7e]/.test(type) ? 'structured' : 'binary';
    const answer = await emit[mode](event);
    if (!JSON.parse(answer.body).success) errors.push(answer.body);
  }),
  errors,
);
