/** What a driver is told on its standard input, and how it makes the calls. */

import { json } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';

/** `host`, `key`, `options` of the client, and `calls`, whose times become dates. */
export async function readJob() {
  const job = await json(process.stdin);
  for (const call of job.calls) call.time = call.time && new Date(call.time);
  return job;
}

/** Makes the calls in order, with pauses if it says so; the numbers of those that the client itself refuses. */
export async function make({ calls, pause }, send) {
  const refused = [];
  for (const call of calls) {
    try {
      await send(call);
    } catch (error) {
      console.error(`${call.n}: ${String(error).slice(0, 200)}`);
      refused.push(call.n);
    }
    if (pause) await setTimeout(pause);
  }
  return refused;
}

/** What the driver found out, for the test that started it. */
export function report(refused, errors = []) {
  process.stdout.write(JSON.stringify({ refused, errors: errors.map(String) }));
}

/** The message of a call as Segment's clients take it; RudderStack's and Jitsu's take the same. */
export function asSegment(call) {
  const { user, event, name, properties, traits, group_id, previous_id, time } = call;
  return { userId: user, event, name, properties, traits, groupId: group_id, previousId: previous_id, timestamp: time };
}

/** How a call is made with Jitsu's client, which remembers whose it is. */
export function asJitsu(client) {
  const methods = {
    identify: ({ user, traits }) => client.identify(user, traits),
    track: ({ event, properties }) => client.track(event, properties),
    page: ({ name, properties }) => client.page(name, properties),
    group: ({ group_id, traits }) => client.group(group_id, traits),
  };
  return (call) => methods[call.type](call);
}

/** The data of a CloudEvent: the properties of a track, anything else as a call of Segment's API. */
export function asData(call) {
  if (call.type === 'track') return call.properties;
  const { timestamp, event, ...rest } = asSegment(call);
  return { type: call.type, ...rest };
}
