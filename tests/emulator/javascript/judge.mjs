// What fal's own JavaScript client makes of the emulator: `node judge.mjs URL SCENARIO JSON` prints one JSON object.
// The client's hosts are constants, so its `fetch` option leads every call to the emulator.
import { createFalClient } from "@fal-ai/client";

const [base, scenario, given] = process.argv.slice(2);
const HOSTS = new Set(["queue.fal.run", "fal.run", "rest.fal.ai", "v3.fal.media"]);
const calls = [];

function local(url) {
  const parsed = new URL(url);
  return HOSTS.has(parsed.host) ? base + parsed.pathname + parsed.search : url;
}

const client = (credentials = "id:secret") =>
  createFalClient({
    credentials,
    fetch: (url, init) => {
      calls.push(`${init.method} ${new URL(url).pathname}`);
      return fetch(local(url), init);
    },
  });
const fal = client();

const said = (error) => ({
  name: error.name,
  status: error.status,
  body: error.body,
  requestId: error.requestId,
  isUserTimeout: error.isUserTimeout,
  fields: error.fieldErrors?.map((entry) => [entry.loc.at(-1), entry.type]),
});

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return said(error);
  }
  throw new Error("it did not fail");
}

const scenarios = {
  async subscribe({ endpoint, ...options }) {
    const updates = [];
    let enqueued;
    const result = await fal.subscribe(endpoint, {
      pollInterval: 20,
      ...options,
      onEnqueue: (requestId) => (enqueued = requestId),
      onQueueUpdate: (update) => {
        if (updates.length === 0) console.error("first update");
        // Copied, since the client keeps adding to the same list of logs.
        updates.push(structuredClone(update));
      },
    });
    return { result, enqueued, updates };
  },

  async stream({ endpoint, input }) {
    const { request_id: requestId } = await fal.queue.submit(endpoint, { input });
    const stream = await fal.queue.streamStatus(endpoint, { requestId, logs: true });
    const events = [];
    for await (const event of stream) events.push(event);
    return { events, last: await stream.done(), requestId: stream.requestId };
  },

  async queue({ endpoint, input }) {
    const submitted = await fal.queue.submit(endpoint, { input });
    const requestId = submitted.request_id;
    const statuses = [];
    do {
      statuses.push(await fal.queue.status(endpoint, { requestId, logs: true }));
    } while (statuses.at(-1).status !== "COMPLETED");
    return { submitted, statuses, result: await fal.queue.result(endpoint, { requestId }) };
  },

  async cancel({ endpoint, input }) {
    const { request_id: requestId } = await fal.queue.submit(endpoint, { input });
    await fal.queue.cancel(endpoint, { requestId });
    const status = await fal.queue.status(endpoint, { requestId });
    return {
      status,
      result: await failure(fal.queue.result(endpoint, { requestId })),
      again: await failure(fal.queue.cancel(endpoint, { requestId })),
    };
  },

  async submit({ endpoint, ...options }) {
    return fal.queue.submit(endpoint, options);
  },

  async upload({ size, type, name, lifecycle }) {
    const bytes = new Uint8Array(size).map((_, place) => place % 251);
    return { url: await fal.storage.upload(new File([bytes], name, { type }), { lifecycle }) };
  },

  async edit({ endpoint, input, images }) {
    const blobs = images.map((data) => new Blob([Buffer.from(data, "base64")], { type: "image/png" }));
    return fal.subscribe(endpoint, { input: { ...input, image_urls: blobs }, pollInterval: 20 });
  },

  async fromImage({ endpoints, image }) {
    const found = {};
    for (const endpoint of endpoints) {
      const blob = new Blob([Buffer.from(image, "base64")], { type: "image/png" });
      const { data } = await fal.subscribe(endpoint, { input: { image_url: blob }, pollInterval: 20 });
      found[endpoint] = { data, wrong: await failure(fal.subscribe(endpoint, { input: {}, pollInterval: 20 })) };
    }
    return { found };
  },

  async failing({ endpoint, key, ...options }) {
    return failure(client(key).subscribe(endpoint, { pollInterval: 20, ...options }));
  },

  async several({ of }) {
    const found = [];
    for (const [name, options] of of) found.push(await scenarios[name](options));
    return { found };
  },
};

const answer = await scenarios[scenario](JSON.parse(given));
console.log(JSON.stringify({ ...answer, calls }));
