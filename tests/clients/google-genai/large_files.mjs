// A file that takes several pieces, as a user of Google's JavaScript SDK sends it. `node large_files.mjs NAME [JSON]` runs
// one scenario against the gateway of GATEWAY_URL with the key of GATEWAY_KEY, and writes what its user would see.
import { ApiError, GoogleGenAI, createPartFromUri, createUserContent } from '@google/genai';

const made = (apiKey = process.env.GATEWAY_KEY) =>
  new GoogleGenAI({ apiKey, httpOptions: { baseUrl: process.env.GATEWAY_URL } });
const client = made();
const large = (size) => new Blob(['x'.repeat(size)], { type: 'text/plain' });

async function refusal(call) {
  try {
    return { answered: await call() };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { status: error.status, error: JSON.parse(error.message).error };
  }
}

const scenarios = {
  async used({ model, size, stranger }) {
    const file = await client.files.upload({ file: large(size), config: { displayName: 'large' } });
    const listed = [];
    for await (const one of await client.files.list()) listed.push(one.name);
    const contents = createUserContent([createPartFromUri(file.uri, file.mimeType), 'What is it?']);
    const answer = await client.models.generateContent({ model, contents });
    const theirs = await refusal(() => made(stranger).files.get({ name: file.name }));
    const used = await refusal(() => made(stranger).models.generateContent({ model, contents }));
    return {
      file: { name: file.name, display: file.displayName, size: file.sizeBytes },
      listed,
      usage: answer.usageMetadata,
      theirs: [theirs.status, used.status],
    };
  },

  // where the 413 sends its reader: the gateway's own bucket, past the function
  async elsewhere({ model, size }) {
    const headers = { authorization: `Bearer ${process.env.GATEWAY_KEY}`, 'content-type': 'application/json' };
    const post = async (path, body) => {
      const answer = await fetch(process.env.GATEWAY_URL + path, { method: 'POST', headers, body: JSON.stringify(body) });
      return answer.json();
    };
    const described = { filename: 'large.txt', purpose: 'user_data', bytes: size, mime_type: 'text/plain' };
    const upload = await post('/v1/uploads', described);
    const { url, method, headers: signed } = upload.presigned;
    const sent = await fetch(url, { method, headers: signed, body: large(size) });
    const { file } = await post(`/v1/uploads/${upload.id}/complete`, { part_ids: [] });
    const contents = createUserContent([createPartFromUri(file.id, 'text/plain'), 'What is it?']);
    const answer = await client.models.generateContent({ model, contents });
    return { sent: sent.status, usage: answer.usageMetadata };
  },

  async refused({ size }) {
    return refusal(() => client.files.upload({ file: large(size) }));
  },
};

const [name, options] = process.argv.slice(2);
console.log(JSON.stringify(await scenarios[name](JSON.parse(options ?? '{}'))));
