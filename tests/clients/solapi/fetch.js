const crypto = require('crypto');

const apiKey = process.env.API_KEY;
const apiSecret = process.env.API_SECRET;

async function main() {
  const dateTime = new Date().toISOString();
  const salt = crypto.randomBytes(16).toString('hex');
  const signature = crypto.createHmac('sha256', apiSecret).update(dateTime + salt).digest('hex');
  const authHeader = `HMAC-SHA256 apiKey=${apiKey}, date=${dateTime}, salt=${salt}, signature=${signature}`;

  const response = await fetch(`${process.env.BASE_URL}/crm-core/v1/relationships/${process.env.RELATIONSHIP_ID}`, {
    method: 'PATCH',
    headers: { 'Authorization': authHeader, 'Content-Type': 'application/json' },
    body: JSON.stringify({
      "metadata": {
        "role": "secondary",
        "notes": "2차 담당"
      }
    })
  });
  const data = await response.json();
  console.log(JSON.stringify(data));
}

main();
