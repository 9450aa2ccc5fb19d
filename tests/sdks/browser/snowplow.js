/** @snowplow/browser-tracker in a page. */

import { flushBuffer, newTracker, setUserId, trackPageView, trackSelfDescribingEvent } from '@snowplow/browser-tracker';
import { onPage } from './page.js';

onPage(({ host, app, options, pause }) => {
  let answers = 0;
  const answered = () => { answers++; };
  newTracker('sdks', host, { appId: app, onRequestSuccess: answered, onRequestFailure: answered, ...options });
  // What is tracked while a request is under way would share the next one.
  const alone = async (track) => {
    const before = answers;
    track();
    while (pause && answers === before) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  const about = (call) => {
    setUserId(call.user);
    return {
      context: [{ schema: 'iglu:example/call/jsonschema/1-0-0', data: { n: call.n } }],
      timestamp: call.time && { type: 'ttm', value: call.time.getTime() },
    };
  };
  return {
    track: (call) =>
      alone(() => trackSelfDescribingEvent({
        event: { schema: `iglu:example/${call.event}/jsonschema/1-0-0`, data: call.properties },
        ...about(call),
      })),
    flush: () => flushBuffer(),
    page: (call) => alone(() => trackPageView({ title: call.name, ...about(call) })),
  };
});
