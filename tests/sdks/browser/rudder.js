/** @rudderstack/analytics-js in a page: the bundled build, which loads nothing from elsewhere. */

import { RudderAnalytics } from '@rudderstack/analytics-js/bundled';
import { onPage } from './page.js';

onPage(async ({ host, key, options }) => {
  const client = new RudderAnalytics();
  client.load(key, host, { configUrl: host, ...options });
  await new Promise((resolve) => client.ready(resolve));
  return {
    identify: ({ user, traits }) => client.identify(user, traits),
    track: ({ event, properties }) => client.track(event, properties),
    page: ({ name, properties }) => client.page(name, properties),
    group: ({ group_id, traits }) => client.group(group_id, traits),
    alias: ({ user, previous_id }) => client.alias(user, previous_id),
  };
});
