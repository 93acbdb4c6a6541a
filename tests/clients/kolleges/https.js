// The page's sample sends the body of an issue request to the edit. It is kept as printed: the answer is a 400.
// `http` stands in for `https` because the server under test is on loopback.
const http = require("http");
const { baseUrl, apiKey, achievementId } = require("./given");

const { hostname, port } = new URL(baseUrl);

const postData = JSON.stringify({
  achievementFormId: 482,
  mode: "email",
  users: [
    {
      name: "홍길동",
      email: "hong@example.com",
      admin_comment: "축하합니다!",
      level: 5,
      custom_attributes: [{ attribute_tag: "score", attribute_value: "90" }],
    },
  ],
});

const options = {
  method: "PATCH",
  hostname,
  port,
  path: `/open-api/achievements/${achievementId}`,
  headers: {
    "Content-Type": "application/json",
    Accept: "application/json",
    Authorization: `Bearer ${apiKey}`,
    "Content-Length": Buffer.byteLength(postData),
  },
};

const req = http.request(options, (res) => {
  const chunks = [];
  res.on("data", (chunk) => {
    chunks.push(chunk);
  });
  res.on("end", () => {
    const body = Buffer.concat(chunks).toString();
    console.log("Status:", res.statusCode);
    console.log("Response:", body);
  });
});

req.on("error", (error) => {
  console.error("Error:", error);
});

req.write(postData);
req.end();
