/** posthog-node makes the calls it is told. */

import { PostHog } from 'posthog-node';
import { make, readJob, report } from './calls.mjs';

const job = await readJob();
const errors = [];
const client = new PostHog(job.key, { host: job.host, ...job.options });
client.on('error', (error) => errors.push(error));

const methods = {
  track: ({ user, event, properties, time }) =>
    client.capture({ distinctId: user, event, properties, timestamp: time }),
  page: ({ user, properties, time }) =>
    client.capture({ distinctId: user, event: '$pageview', properties, timestamp: time }),
  screen: ({ user, name, properties, time }) =>
    client.capture({
      distinctId: user,
      event: '$screen',
      properties: { $screen_name: name, ...properties },
      timestamp: time,
    }),
  identify: ({ user, traits }) => client.identify({ distinctId: user, properties: traits }),
  group: ({ user, group_id, traits }) =>
    client.groupIdentify({ groupType: 'company', groupKey: group_id, properties: traits, distinctId: user }),
  alias: ({ user, previous_id }) => client.alias({ distinctId: user, alias: previous_id }),
};
const refused = await make(job, (call) => methods[call.type](call));
await client.shutdown(60_000);
report(refused, errors);
