/** @segment/analytics-next in a page. */

import { AnalyticsBrowser } from '@segment/analytics-next';
import { onPage } from './page.js';

onPage(async ({ host, key, options }) => {
  const [client] = await AnalyticsBrowser.load({ writeKey: key, cdnURL: host }, options);
  const at = ({ time }) => (time ? { timestamp: time } : {});
  return {
    identify: (call) => client.identify(call.user, call.traits, at(call)),
    track: (call) => void client.track(call.event, call.properties, at(call)),
    page: (call) => client.page(call.name, call.properties, at(call)),
    screen: (call) => client.screen(call.name, call.properties, at(call)),
    group: (call) => client.group(call.group_id, call.traits, at(call)),
    alias: (call) => client.alias(call.user, call.previous_id, at(call)),
  };
});
