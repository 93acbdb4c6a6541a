const crypto = require("crypto");

const { BASE_URL, ACCESS_KEY, SECRET_KEY, APPLICATION_PATH, BODY } = process.env;

function makeSignature(method, uri, timestamp) {
  const hmac = crypto.createHmac("sha256", SECRET_KEY);
  hmac.update(`${method} ${uri}\n${timestamp}\n${ACCESS_KEY}`);
  return hmac.digest("base64");
}

async function main() {
  const timestamp = Date.now().toString();
  const response = await fetch(BASE_URL + APPLICATION_PATH, {
    method: "PUT",
    headers: {
      "Content-Type": "application/json",
      "x-ncp-apigw-timestamp": timestamp,
      "x-ncp-iam-access-key": ACCESS_KEY,
      "x-ncp-apigw-signature-v2": makeSignature("PUT", APPLICATION_PATH, timestamp),
    },
    body: BODY,
  });
  console.log("Status:", response.status);
  console.log("Response:", await response.text());
}

main();
