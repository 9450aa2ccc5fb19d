/** posthog-js in a page. */

import posthog from 'posthog-js';
import { onPage } from './page.js';

onPage(async ({ host, key, options }) => {
  await new Promise((loaded) => posthog.init(key, { api_host: host, capture_pageview: false, loaded, ...options }));
  const at = ({ time }) => (time ? { timestamp: time } : {});
  return {
    identify: ({ user, traits }) => posthog.identify(user, traits),
    track: (call) => posthog.capture(call.event, call.properties, at(call)),
    page: (call) => posthog.capture('$pageview', call.properties, at(call)),
    screen: (call) => posthog.capture('$screen', { $screen_name: call.name, ...call.properties }, at(call)),
    group: ({ group_id, traits }) => posthog.group('company', group_id, traits),
  };
});
