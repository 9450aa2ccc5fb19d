/** How a page tells a story: `tell(job)` is called by the test, and `told` says that it is through, or what went wrong. */

const later = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export function onPage(open) {
  window.tell = async (job) => {
    const methods = await open(job);
    for (const call of job.calls) {
      call.time = call.time && new Date(call.time);
      await methods[call.type](call);
      if (job.pause) await later(job.pause);
    }
    for (let times = 0; times < (job.flushes ?? 0); times++) {
      methods.flush();
      await later(job.pause);
    }
    if (job.leave) location.assign('/left.html');
    else window.told = true;
  };
}
