/** @snowplow/browser-tracker in a page. */

import { flushBuffer, newTracker, setUserId, trackPageView, trackSelfDescribingEvent } from '@snowplow/browser-tracker';
import { onPage } from './page.js';

onPage(({ host, app, options }) => {
  newTracker('sdks', host, { appId: app, ...options });
  const about = (call) => {
    setUserId(call.user);
    return {
      context: [{ schema: 'iglu:example/call/jsonschema/1-0-0', data: { n: call.n } }],
      timestamp: call.time && { type: 'ttm', value: call.time.getTime() },
    };
  };
  return {
    track: (call) =>
      trackSelfDescribingEvent({
        event: { schema: `iglu:example/${call.event}/jsonschema/1-0-0`, data: call.properties },
        ...about(call),
      }),
    flush: () => flushBuffer(),
    page: (call) => trackPageView({ title: call.name, ...about(call) }),
  };
});
