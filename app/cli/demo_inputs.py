"""The demo's price book and team contract. The prices are made up and say so."""

PRICES = """\
cluster,provider,region,instance_type,gpu_model,capacity_type,node,unit,price,currency,valid_from,valid_to,source
,aws,,p5.48xlarge,,on_demand,,node_hour,55.04,USD,2026-01-01,,demo price
,aws,,p4de.24xlarge,,spot,,node_hour,11.20,USD,2026-01-01,,demo price
,,,,L40S,,,gpu_hour,1.10,USD,2026-01-01,,demo price
,,,,T4,,,gpu_hour,0.35,USD,2026-01-01,,demo price
"""

CONTRACT = """\
teams:
  - { name: search, cost_center: CC-1001, department: products, namespaces: ["search-*"],
      budget: { monthly: "20000" }, slack: "#search-gpu" }
  - { name: ml, cost_center: CC-2001, namespaces: ["ml-*"], budget: { monthly: "2500" } }
  - { name: ads, cost_center: CC-3001, department: products, namespaces: ["ads-*"] }
  - { name: support, cost_center: CC-4001, namespaces: [support-bot] }
  - { name: research, cost_center: CC-5001, namespaces: ["research-*"] }
departments:
  - { name: products }
platform: { team: platform, namespaces: [gpu-operator, monitoring] }
"""
