// What users of the TypeScript SDK do. `node scenarios.mjs NAME [JSON]` runs one scenario against the gateway of
// GATEWAY_URL with the key of GATEWAY_KEY, and writes what its user would see as JSON.
import OpenAI, { toFile } from 'openai';
import { ResponsesToolRunner, runnerFunction } from 'openai/helpers/responses-tool-runner';
import { zodFunction, zodResponseFormat, zodResponsesFunction, zodTextFormat } from 'openai/helpers/zod';
import * as z from 'zod/v4';

const made = (options = {}) =>
  new OpenAI({
    baseURL: `${process.env.GATEWAY_URL}/v1`,
    apiKey: process.env.GATEWAY_KEY,
    maxRetries: 0,
    ...options,
  });
const client = made();
const FLASH = 'gemini-3.6-flash';
const say = (content, more = {}) => ({ model: FLASH, messages: [{ role: 'user', content }], ...more });
const CARRIED = { store: false, include: ['reasoning.encrypted_content'] };

async function refusal(call) {
  try {
    return { answered: await call() };
  } catch (error) {
    if (!(error instanceof OpenAI.OpenAIError)) throw error;
    const { status = null, code = null, param = null, type = null, message } = error;
    return {
      kind: error.constructor.name,
      status,
      code,
      param,
      type,
      message,
      request_id: error.requestID ?? null,
      retry_after: error.headers?.get('retry-after') ?? null,
      should_retry: error.headers?.get('x-should-retry') ?? null,
    };
  }
}

async function gathered(stream) {
  const items = [];
  for await (const item of await stream) items.push(item);
  return items;
}

const City = z.object({ city: z.string() });
const Solution = z.object({
  steps: z.array(z.object({ explanation: z.string(), output: z.string() })),
  verdict: z.enum(['right', 'wrong']),
});
const valid = (parsed) => Solution.safeParse(parsed).success;

// the two functions of every tool scenario, declared by one of the SDK's helpers; what they were asked goes to `asked`
const functions = (declare, asked) => [
  declare({
    name: 'get_weather',
    description: 'The weather of a city.',
    parameters: City,
    function: ({ city }) => (asked.push(city), `dry in ${city}`),
  }),
  declare({
    name: 'get_time',
    description: 'The time of day.',
    parameters: z.object({}),
    function: () => (asked.push('time'), 'noon'),
  }),
];
const DECLARED = ['get_weather', 'get_time'].map((name) => ({
  type: 'function',
  function: { name, parameters: { type: 'object' } },
}));

const chat = {
  chat: ({ request }) => client.chat.completions.create(request),

  stream: ({ request }) => gathered(client.chat.completions.create({ ...request, stream: true })),

  async stream_helper({ request }) {
    const stream = client.chat.completions.stream(request);
    const pieces = [];
    stream.on('content', (piece) => pieces.push(piece));
    return { final: await stream.finalChatCompletion(), pieces, text: await stream.finalContent() };
  },

  async tools({ prompt, model, streamed }) {
    const asked = [];
    const tools = functions(zodFunction, asked);
    const more = streamed ? { stream: true, stream_options: { include_usage: true } } : {};
    const runner = client.chat.completions.runTools(say(prompt, { model, tools, ...more }));
    const content = await runner.finalContent();
    const reasons = runner.allChatCompletions().map((answer) => answer.choices[0].finish_reason);
    return { asked, content, reasons, usage: await runner.totalUsage() };
  },

  // the calls as frameworks rebuild them: only what OpenAI's own message has; some make ids of their own, as `renamed`
  async rebuilt({ prompt, model, streamed, renamed }) {
    const messages = say(prompt).messages;
    for (let rounds = 0; ; rounds += 1) {
      const request = { model, messages, tools: DECLARED };
      const answer = streamed
        ? await client.chat.completions.stream(request).finalChatCompletion()
        : await client.chat.completions.create(request);
      const { finish_reason, message } = answer.choices[0];
      if (finish_reason !== 'tool_calls') return { rounds, content: message.content };
      const calls = message.tool_calls.map(({ id, function: { name, arguments: given } }) => ({
        id: renamed ? `own_${id.slice(-8)}` : id,
        type: 'function',
        function: { name, arguments: given },
      }));
      const results = calls.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: 'dry' }));
      messages.push({ role: 'assistant', content: null, tool_calls: calls }, ...results);
    }
  },

  async parse({ model }) {
    const request = say('Solve 8x + 7 = -23.', { model, response_format: zodResponseFormat(Solution, 'solution') });
    const whole = await client.chat.completions.parse(request);
    const streamed = await client.chat.completions.stream(request).finalChatCompletion();
    return [whole, streamed].map((answer) => valid(answer.choices[0].message.parsed));
  },

  async broken({ request, helper }) {
    const pieces = [];
    const reasons = [];
    const outcome = await refusal(async () => {
      const stream = helper
        ? client.chat.completions.stream(request)
        : await client.chat.completions.create({ ...request, stream: true });
      for await (const { choices } of stream) {
        pieces.push(choices[0].delta.content);
        if (choices[0].finish_reason) reasons.push(choices[0].finish_reason);
      }
      return helper ? stream.finalContent() : null;
    });
    return { ...outcome, pieces, reasons };
  },

  // leaving a stream aborts its request
  async left({ request }) {
    const stream = await client.chat.completions.create({ ...request, stream: true });
    for await (const chunk of stream) if (chunk.choices[0].delta.content) return chunk.choices[0].delta.content;
    return null;
  },
};

const responses = {
  response: ({ request }) => client.responses.create(request),

  response_stream: ({ request }) => gathered(client.responses.create({ ...request, stream: true })),

  async response_helper({ request }) {
    const stream = client.responses.stream(request);
    const events = await gathered(stream);
    return { final: await stream.finalResponse(), events };
  },

  async response_chain({ inputs }) {
    const answers = [];
    for (const input of inputs) {
      const previous = answers.length ? { previous_response_id: answers.at(-1).id } : {};
      answers.push(await client.responses.create({ model: FLASH, input, ...previous }));
    }
    const kept = await client.responses.retrieve(answers.at(-1).id);
    const items = await gathered(client.responses.inputItems.list(kept.id, { order: 'asc', limit: 2 }));
    await client.responses.delete(kept.id);
    const gone = await refusal(() => client.responses.retrieve(kept.id));
    const unknown = await refusal(() =>
      client.responses.create({ model: FLASH, input: 'x', previous_response_id: 'resp_none' }),
    );
    return { answers, kept, items, gone, unknown };
  },

  // a response tells its failure in an event of its own
  async response_broken({ request }) {
    const events = await gathered(client.responses.create({ ...request, stream: true }));
    return { events, kept: await client.responses.retrieve(events.at(-1).response.id) };
  },

  async response_background({ request }) {
    const queued = await client.responses.create({ ...request, background: true });
    let answer = queued;
    while (['queued', 'in_progress'].includes(answer.status)) {
      await new Promise((wake) => setTimeout(wake, 50));
      answer = await client.responses.retrieve(queued.id);
    }
    return { queued, answer };
  },

  async response_conversation({ inputs }) {
    const conversation = await client.conversations.create({ metadata: { topic: 'a' } });
    const ask = (input) => client.responses.create({ model: FLASH, input, conversation: conversation.id });
    for (const input of inputs) await ask(input);
    const request = { model: FLASH, input: 'x', conversation: conversation.id };
    const counted = await client.responses.inputTokens.count(request);
    return { items: await gathered(client.conversations.items.list(conversation.id, { order: 'asc' })), counted };
  },

  // results alone follow the response before, or everything is sent again, or nothing is kept and all is carried
  async response_tools({ prompt, model, keeping }) {
    const asked = [];
    const tools = functions(zodResponsesFunction, asked);
    const known = [{ role: 'user', content: prompt }];
    const kept = keeping === 'carried items' ? CARRIED : {};
    let answer = await client.responses.create({ model, input: known, tools, ...kept });
    for (let rounds = 0; ; rounds += 1) {
      const calls = answer.output.filter((item) => item.type === 'function_call');
      if (!calls.length) return { rounds, asked, text: answer.output_text };
      const results = calls.map(({ call_id, name, arguments: given }) => {
        asked.push(name === 'get_time' ? 'time' : JSON.parse(given).city);
        return { type: 'function_call_output', call_id, output: 'dry' };
      });
      known.push(...answer.output, ...results);
      const next =
        keeping === 'previous response' ? { input: results, previous_response_id: answer.id } : { input: known };
      answer = await client.responses.create({ model, tools, ...next, ...kept });
    }
  },

  async response_runner({ prompt, model, streamed }) {
    const asked = [];
    const runner = new ResponsesToolRunner({ functions: functions(zodResponsesFunction, asked).map(runnerFunction) });
    const answer = await runner.run(client, { model, input: prompt }, { stream: streamed });
    return { asked, status: answer.status, text: answer.output_text };
  },

  async response_parse({ model }) {
    const request = { model, input: 'Solve 8x + 7 = -23.', text: { format: zodTextFormat(Solution, 'solution') } };
    const whole = await client.responses.parse(request);
    const streamed = await client.responses.stream(request).finalResponse();
    return [whole, streamed].map((answer) => valid(answer.output_parsed));
  },
};

const bytes = (base64) => Buffer.from(base64, 'base64');
const picture = (base64, name) => toFile(bytes(base64), name, { type: 'image/png' });

const media = {
  // the SDK asks for base64 and decodes it unless a format is named
  async embeddings({ request }) {
    const packed = await client.embeddings.create(request);
    const plain = await client.embeddings.create({ ...request, encoding_format: 'float' });
    const vectors = ({ data }) => data.map(({ embedding }) => embedding);
    return { packed: vectors(packed), plain: vectors(plain), usage: packed.usage };
  },

  images: ({ request }) => client.images.generate(request),

  images_stream: ({ request }) => gathered(client.images.generate({ ...request, stream: true })),

  async images_edit({ request, image, mask }) {
    const files = await Promise.all([picture(image, 'a.png'), picture(image, 'b.png')]);
    return client.images.edit({ ...request, image: files, mask: await picture(mask, 'm.png') });
  },

  images_edit_stream: async ({ request, image }) =>
    gathered(client.images.edit({ ...request, image: await picture(image, 'a.png'), stream: true })),

  async speech({ request }) {
    const answer = await client.audio.speech.create(request);
    const type = answer.headers.get('content-type');
    return { type, sound: Buffer.from(await answer.arrayBuffer()).toString('base64') };
  },

  transcript: async ({ request, sound }) =>
    client.audio.transcriptions.create({ ...request, file: await toFile(bytes(sound), 'a.wav') }),

  transcript_stream: async ({ request, sound }) =>
    gathered(
      client.audio.transcriptions.create({ ...request, file: await toFile(bytes(sound), 'a.wav'), stream: true }),
    ),
};

const rest = {
  async models() {
    const ids = (await gathered(client.models.list())).map((model) => model.id);
    const missing = await refusal(() => client.models.retrieve('no-such-model'));
    return { ids, one: await client.models.retrieve(FLASH), missing };
  },

  async refusals({ narrow }) {
    const ask = (more, by = client) => refusal(() => by.chat.completions.create(say('x', more)));
    return {
      key: await ask({}, made({ apiKey: 'sk-wrong' })),
      model: await ask({ model: 'gpt-nonsense' }),
      part: await ask({ messages: [{ role: 'user', content: [{ type: 'smell' }] }] }),
      range: await ask({ temperature: 7 }),
      endpoint: await ask({}, made({ apiKey: narrow })),
      size: await ask({ messages: [{ role: 'user', content: 'x'.repeat(6_000_000) }] }),
      response: await refusal(() => client.responses.create({ model: FLASH, input: 5 })),
      voice: await refusal(() => client.audio.speech.create({ model: 'tts-1', voice: 'nobody', input: 'x' })),
    };
  },

  async retried({ request, retries, streamed }) {
    const began = performance.now();
    const again = made({ maxRetries: retries });
    const outcome = await refusal(async () => {
      if (!streamed) return again.chat.completions.create(request);
      return gathered(again.chat.completions.create({ ...request, stream: true }));
    });
    return { ...outcome, seconds: (performance.now() - began) / 1000 };
  },

  async entrances({ request }) {
    const forms = {
      slash: { baseURL: `${process.env.GATEWAY_URL}/v1/` },
      google: { baseURL: `${process.env.GATEWAY_URL}/v1beta/openai/` },
      organization: { organization: 'org-a', project: 'proj_a' },
      header: { apiKey: 'x', defaultHeaders: { authorization: null, 'x-api-key': process.env.GATEWAY_KEY } },
      function: { apiKey: async () => process.env.GATEWAY_KEY },
      two_keys: { defaultHeaders: { 'x-api-key': 'sk-other' } },
    };
    const seen = {};
    for (const [form, options] of Object.entries(forms)) {
      const { answered, status } = await refusal(() => made(options).chat.completions.create(request));
      seen[form] = answered ? answered.choices[0].finish_reason : status;
    }
    return seen;
  },

  async raw({ request }) {
    const { data, response, request_id } = await client.chat.completions.create(request).withResponse();
    const header = (name) => response.headers.get(name);
    return { data, request_id, warnings: header('x-gateway-warnings'), cost: header('x-gateway-cost-usd') };
  },
};

const scenarios = { ...chat, ...responses, ...media, ...rest };
const [name, options = '{}'] = process.argv.slice(2);
const seen = await scenarios[name](JSON.parse(options));
process.stdout.write(JSON.stringify(seen));
