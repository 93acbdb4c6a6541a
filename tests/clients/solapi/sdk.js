// The vendor's SDK signs; only where its request goes is changed, because it has no call for relationships.
const { SolapiMessageService } = require("solapi");

const { BASE_URL, API_KEY, API_SECRET, RELATIONSHIP_ID } = process.env;
const sendOverNetwork = globalThis.fetch;

globalThis.fetch = async (_url, init) => {
  const response = await sendOverNetwork(`${BASE_URL}/crm-core/v1/relationships/${RELATIONSHIP_ID}`, {
    method: "PATCH",
    headers: init.headers,
    body: JSON.stringify({ metadata: { role: "secondary", notes: "2차 담당" } }),
  });
  console.log(await response.clone().text());
  return response;
};

new SolapiMessageService(API_KEY, API_SECRET).getBalance().catch(() => {
  // The answer is a relationship where the SDK expects a balance; what the server said is already printed.
});
