/** @jitsu/js in a page. */

import { jitsuAnalytics } from '@jitsu/js';
import { onPage } from './page.js';

onPage(({ host, key, options }) => {
  const client = jitsuAnalytics({ host, writeKey: key, ...options });
  return {
    identify: ({ user, traits }) => client.identify(user, traits),
    track: ({ event, properties }) => client.track(event, properties),
    page: ({ name, properties }) => client.page(name, properties),
    group: ({ group_id, traits }) => client.group(group_id, traits),
  };
});
