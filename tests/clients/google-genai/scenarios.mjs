// What users of Google's JavaScript SDK do. `node scenarios.mjs NAME [JSON]` runs one scenario against the gateway of
// GATEWAY_URL with the key of GATEWAY_KEY, and writes what its user would see as JSON.
import { ApiError, GoogleGenAI, Modality, createPartFromUri, createUserContent } from '@google/genai';

const made = (apiKey = process.env.GATEWAY_KEY) =>
  new GoogleGenAI({ apiKey, httpOptions: { baseUrl: process.env.GATEWAY_URL } });
const client = made();

async function refusal(call) {
  try {
    return { answered: await call() };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // in mid-stream words stand before the body
    const body = JSON.parse(error.message.slice(error.message.indexOf('{')));
    return { kind: error.name, status: error.status, error: body.error };
  }
}

const seen = (answer) => ({
  text: answer.text,
  finish: answer.candidates[0].finishReason,
  usage: answer.usageMetadata,
  version: answer.modelVersion,
});

// one chunk as it came and the text that its user reads
async function gathered(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  const parts = chunks.flatMap((chunk) => chunk.candidates?.[0]?.content?.parts ?? []);
  const text = parts.map((part) => (part.thought ? '' : (part.text ?? ''))).join('');
  return { text, parts, chunks: chunks.length, usage: chunks.at(-1).usageMetadata, last: chunks.at(-1) };
}

const weather = {
  name: 'get_weather',
  description: 'The weather of a city.',
  parametersJsonSchema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};

const scenarios = {
  generate: async ({ request }) => seen(await client.models.generateContent(request)),

  async stream({ request }) {
    const { text, chunks, usage, last } = await gathered(await client.models.generateContentStream(request));
    return { text, chunks, usage, finish: last.candidates[0].finishReason };
  },

  // a chat keeps what the model said, signatures and ids included, and gives it back
  async chat({ model, prompt, streamed }) {
    const chat = client.chats.create({ model, config: { tools: [{ functionDeclarations: [weather] }] } });
    const send = async (message) =>
      streamed
        ? gathered(await chat.sendMessageStream({ message }))
        : chat.sendMessage({ message }).then((answer) => ({
            text: answer.text,
            parts: answer.candidates[0].content.parts,
          }));
    const asked = [];
    let answer = await send(prompt);
    for (;;) {
      const calls = answer.parts.flatMap((part) => (part.functionCall ? [part.functionCall] : []));
      if (!calls.length) break;
      asked.push(...calls.map((call) => call.args.city));
      const results = calls.map(({ id, name, args }) => ({
        functionResponse: { id, name, response: { result: `sunny in ${args.city}` } },
      }));
      answer = await send(results);
    }
    const thanks = await send('Thanks');
    return { asked, text: answer.text, thanks: thanks.text, history: chat.getHistory().length };
  },

  // the SDK runs the functions itself
  async automatic({ model, prompt }) {
    const asked = [];
    const tool = {
      tool: async () => ({ functionDeclarations: [weather] }),
      callTool: async (calls) => {
        asked.push(...calls.map((call) => call.args.city));
        return calls.map(({ id, name }) => ({ functionResponse: { id, name, response: { result: 'sunny' } } }));
      },
    };
    const answer = await client.models.generateContent({ model, contents: prompt, config: { tools: [tool] } });
    return { asked, text: answer.text };
  },

  async embed({ model, contents, size }) {
    const config = { outputDimensionality: size };
    const { embeddings } = await client.models.embedContent({ model, contents, config });
    return embeddings.map((embedding) => embedding.values.length);
  },

  count: async ({ request }) => (await client.models.countTokens(request)).totalTokens,

  async image({ model, prompt }) {
    const answer = await client.models.generateContent({ model, contents: prompt });
    const [picture] = answer.candidates[0].content.parts.flatMap((part) => part.inlineData ?? []);
    return { type: picture.mimeType, data: picture.data, usage: answer.usageMetadata };
  },

  async speech({ model, prompt, voice }) {
    const speechConfig = { voiceConfig: { prebuiltVoiceConfig: { voiceName: voice } } };
    const config = { responseModalities: [Modality.AUDIO], speechConfig };
    const answer = await client.models.generateContent({ model, contents: prompt, config });
    const { mimeType, data } = answer.candidates[0].content.parts[0].inlineData;
    return { type: mimeType, bytes: Buffer.from(data, 'base64').length, usage: answer.usageMetadata };
  },

  async files({ model, text, stranger }) {
    const file = await client.files.upload({
      file: new Blob([text], { type: 'text/plain' }),
      config: { displayName: 'notes' },
    });
    const listed = [];
    for await (const one of await client.files.list()) listed.push(one.name);
    const contents = createUserContent([createPartFromUri(file.uri, file.mimeType), 'What is it?']);
    const answer = await client.models.generateContent({ model, contents });
    const theirs = await refusal(() => made(stranger).files.get({ name: file.name }));
    const again = await client.files.get({ name: file.name });
    await client.files.delete({ name: file.name });
    const gone = await refusal(() => client.files.get({ name: file.name }));
    return {
      file: { name: file.name, display: file.displayName, size: file.sizeBytes },
      listed,
      text: answer.text,
      same: again.uri === file.uri,
      theirs: theirs.status,
      gone: gone.status,
    };
  },

  async models() {
    const names = [];
    for await (const model of await client.models.list({ config: { pageSize: 5 } })) names.push(model.name);
    return names;
  },

  async refusals({ model }) {
    const ask = (by, id) => refusal(() => by.models.generateContent({ model: id, contents: 'x' }));
    return { key: await ask(made('wrong'), model), model: await ask(client, 'gpt-nonsense') };
  },

  refused: ({ request }) => refusal(() => client.models.generateContent(request)),

  broken: ({ request }) => refusal(async () => gathered(await client.models.generateContentStream(request))),
};

const [name, options = '{}'] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await scenarios[name](JSON.parse(options))));
