// What users of the TypeScript SDK do. `node scenarios.mjs NAME [JSON]` runs one scenario against the gateway of
// GATEWAY_URL with the key of GATEWAY_KEY, and writes what its user would see as JSON.
import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import * as z from 'zod/v4';

const made = (options = {}) =>
  new Anthropic({ baseURL: process.env.GATEWAY_URL, apiKey: process.env.GATEWAY_KEY, maxRetries: 0, ...options });
const client = made();
const FLASH = 'gemini-3.6-flash';
const say = (content, more = {}) => ({
  model: FLASH,
  max_tokens: 4096,
  messages: [{ role: 'user', content }],
  ...more,
});

async function refusal(call) {
  try {
    return { answered: await call() };
  } catch (error) {
    if (!(error instanceof Anthropic.APIError)) throw error;
    const { type, message } = error.error?.error ?? {};
    return {
      kind: error.constructor.name,
      status: error.status ?? null,
      type,
      message,
      request_id: error.requestID ?? null,
      body_request_id: error.error?.request_id ?? null,
      retry_after: error.headers?.get('retry-after') ?? null,
      should_retry: error.headers?.get('x-should-retry') ?? null,
    };
  }
}

const final = (request, streamed) =>
  streamed ? client.messages.stream(request).finalMessage() : client.messages.create(request);

const scenarios = {
  message: ({ request }) => client.messages.create(request),

  async stream({ request }) {
    const stream = client.messages.stream(request);
    const pieces = [];
    const events = [];
    stream.on('text', (piece) => pieces.push(piece));
    stream.on('streamEvent', (event) => events.push(event.type));
    return { final: await stream.finalMessage(), pieces, events, text: await stream.finalText().catch(() => null) };
  },

  async tools({ prompt, model, thinking, streamed }) {
    const asked = [];
    const weather = betaZodTool({
      name: 'get_weather',
      description: 'The weather of a city.',
      inputSchema: z.object({ city: z.string() }),
      run: ({ city }) => (asked.push(city), `dry in ${city}`),
    });
    const time = betaZodTool({
      name: 'get_time',
      description: 'The time of day.',
      inputSchema: z.object({}),
      run: () => (asked.push('time'), 'noon'),
    });
    const request = { ...say(prompt), model, tools: [weather, time], stream: streamed };
    const runner = client.beta.messages.toolRunner(thinking ? { ...request, thinking } : request);
    const answers = [];
    for await (const turn of runner) answers.push(streamed ? await turn.finalMessage() : turn);
    return { asked, answers };
  },

  // the calls as frameworks rebuild them: no thinking, only what a tool_use block is made of
  async rebuilt({ prompt, model, thinking }) {
    const tools = ['get_weather', 'get_time'].map((name) => ({ name, input_schema: { type: 'object' } }));
    const messages = [{ role: 'user', content: prompt }];
    for (;;) {
      const more = thinking ? { thinking } : {};
      const answer = await client.messages.create({ model, max_tokens: 4096, messages, tools, ...more });
      if (answer.stop_reason !== 'tool_use') return { rounds: (messages.length - 1) / 2, answer };
      const calls = answer.content.filter((block) => block.type === 'tool_use');
      const content = calls.map(({ id, name, input }) => ({ type: 'tool_use', id, name, input }));
      const results = calls.map(({ id }) => ({ type: 'tool_result', tool_use_id: id, content: 'dry' }));
      messages.push({ role: 'assistant', content }, { role: 'user', content: results });
    }
  },

  async parse({ model }) {
    const Solution = z.object({
      steps: z.array(z.object({ explanation: z.string(), output: z.string() })),
      verdict: z.enum(['right', 'wrong']),
    });
    const request = say('Solve 8x + 7 = -23.', { model, output_config: { format: zodOutputFormat(Solution) } });
    const whole = await client.messages.parse(request);
    const streamed = await client.messages.stream(request).finalMessage();
    return [whole.parsed_output, streamed.parsed_output].map((parsed) => Solution.safeParse(parsed).success);
  },

  async picture_from_a_tool({ prompt, image, pdf }) {
    const tools = [{ name: 'look', input_schema: { type: 'object' } }];
    const messages = [{ role: 'user', content: prompt }];
    const request = { model: FLASH, max_tokens: 4096, messages, tools };
    const first = await client.messages.create(request);
    const result = {
      type: 'tool_result',
      tool_use_id: first.content.at(-1).id,
      content: [{ type: 'text', text: 'a picture' }, image, pdf],
    };
    messages.push({ role: 'assistant', content: first.content }, { role: 'user', content: [result] });
    return client.messages.create(request);
  },

  async stops({ request, streamed }) {
    const { content, stop_reason, stop_sequence, stop_details, usage } = await final(request, streamed);
    return { content, stop_reason, stop_sequence, stop_details, usage };
  },

  async counts({ request, times }) {
    const answers = await Promise.all(Array.from({ length: times }, () => client.messages.countTokens(request)));
    return answers.map((answer) => answer.input_tokens);
  },

  async models() {
    const ids = [];
    for await (const model of client.models.list({ limit: 4 })) ids.push(model.id);
    const missing = await refusal(() => client.models.retrieve('no-such-model'));
    return { ids, one: await client.models.retrieve(FLASH), missing };
  },

  async refusals() {
    const stranger = made({ apiKey: 'sk-ant-wrong' });
    return {
      key: await refusal(() => stranger.messages.create(say('x'))),
      model: await refusal(() => client.messages.create(say('x', { model: 'gpt-nonsense' }))),
      block: await refusal(() => client.messages.create(say([{ type: 'smell' }]))),
      size: await refusal(() => client.messages.create(say('x'.repeat(6_000_000)))),
    };
  },

  async retried({ request, retries }) {
    const began = performance.now();
    const asked = made({ maxRetries: retries }).messages.create(request);
    return { ...(await refusal(() => asked)), seconds: (performance.now() - began) / 1000 };
  },

  // a helper rejects, and so does the plain iteration
  async broken({ request, helper }) {
    const events = [];
    const outcome = await refusal(async () => {
      const stream = helper
        ? client.messages.stream(request)
        : await client.messages.create({ ...request, stream: true });
      for await (const event of stream) events.push(event.type);
      return helper ? stream.finalMessage() : null;
    });
    return { ...outcome, events };
  },

  async entrances({ request }) {
    const forms = {
      bearer: {},
      auth_token: { apiKey: null, authToken: process.env.GATEWAY_KEY },
      x_api_key: { apiKey: null, defaultHeaders: { 'x-api-key': process.env.GATEWAY_KEY, authorization: null } },
      both: { defaultHeaders: { 'x-api-key': process.env.GATEWAY_KEY } },
      doubled: { baseURL: `${process.env.GATEWAY_URL}/v1` },
      two_keys: { defaultHeaders: { 'x-api-key': 'sk-other' } },
    };
    const seen = {};
    for (const [name, options] of Object.entries(forms)) {
      const answer = await refusal(() => made(options).messages.create(request));
      seen[name] = answer.answered ? answer.answered.stop_reason : answer.status;
    }
    return seen;
  },
};

const [name, options = '{}'] = process.argv.slice(2);
const seen = await scenarios[name](JSON.parse(options));
process.stdout.write(JSON.stringify(seen));
