/** @snowplow/node-tracker makes the calls it is told. */

import { buildPageView, buildScreenView, buildSelfDescribingEvent, newTracker } from '@snowplow/node-tracker';
import { setTimeout } from 'node:timers/promises';
import { make, readJob, report } from './calls.mjs';

const job = await readJob();
const errors = [];
let settled = 0;
let answers = 0;
const settle = (events) => { settled += events.length; answers++; };
const fail = ({ events, message, willRetry }) => {
  errors.push(message);
  if (willRetry) answers++;
  else settle(events);
};
const tracker = newTracker(
  { namespace: 'sdks', appId: job.app, encodeBase64: job.options.encodeBase64 ?? true },
  { endpoint: job.host, bufferSize: job.pause ? 1 : 25, onRequestSuccess: settle, onRequestFailure: fail, ...job.options },
);

const events = {
  track: ({ event, properties }) =>
    buildSelfDescribingEvent({ event: { schema: `iglu:example/${event}/jsonschema/1-0-0`, data: properties } }),
  page: ({ name }) => buildPageView({ pageUrl: 'https://shop.example/', pageTitle: name }),
  screen: ({ name, n }) => buildScreenView({ name, id: String(n) }),
};
const refused = await make(job, async (call) => {
  tracker.setUserId(call.user);
  const numbered = [{ schema: 'iglu:example/call/jsonschema/1-0-0', data: { n: call.n } }];
  const before = answers;
  tracker.track(events[call.type](call), numbered, call.time && { type: 'ttm', value: call.time.getTime() });
  while (job.pause && answers === before) await setTimeout(20); // what is tracked meanwhile would share the next request
});
// One flush does not wait for another, and none goes on after a failure.
for (let times = 0; settled < job.calls.length && times < 300; times++) {
  await tracker.flush();
  await setTimeout(100);
}
report(refused, errors);
